"""Print the table of settings for docs/api.md: python dev/write_settings.py."""

import json
import sys

from relatum import Config

rows = ["| setting | default | meaning |", "|---|---|---|"]
for name, field in Config.model_fields.items():
    inner = getattr(field.annotation, "model_fields", None)
    for key, one in (inner or {name: field}).items():
        full = f"{name}.{key}" if inner else name
        rows.append(f"| `{full}` | `{json.dumps(one.default)}` | {one.description} |")
sys.stdout.write("\n".join(rows) + "\n")
