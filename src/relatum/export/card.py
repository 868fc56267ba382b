"""A model card: what a model is, what it was trained on, how good it is, how to use it.

In: a model and, where there is one, the report of its evaluation.
Out: Markdown with YAML in front.
"""

import json
from pathlib import Path
from typing import Any

from relatum.errors import RelatumError
from relatum.evaluate.baselines import FROZEN
from relatum.evaluate.report import TITLES, show
from relatum.evaluate.summary import Number
from relatum.model import Model
from relatum.page import markdown_table

TEMPLATE = (Path(__file__).parent / "card.md").read_text(encoding="utf-8")


def card(model: Model, report: str | Path | None = None, licence: str = "unknown") -> str:
    """Return the card. `report` is the folder or the report.json of `relatum evaluate`."""
    facts = _read(Path(report)) if report is not None else {"notes": (), "catalogue": "unnamed"}
    rows = [["relation", "text", "read backwards"]]
    rows += [[one.id, one.text, one.inverse or "the same"] for one in model.relations]
    encoder, split = Path(model.config.encoder), model.split
    sides = ("train", "validation", "test") if split else ()
    return TEMPLATE.format(
        licence=licence,
        model=model,
        encoder=encoder.name if encoder.is_dir() else model.config.encoder,
        asked=json.dumps(rows[1][1] if rows[1:] else "belong together", ensure_ascii=False),
        relations=markdown_table(rows[0], rows[1:]),
        catalogue=facts["catalogue"],
        sizes=", ".join(f"{len(getattr(split, side)):,} {side}" for side in sides) or "unknown",
        evaluation=_evaluation(facts) if report else "Not evaluated: no report was given.",
        notes="".join(f"\n- {note}" for note in facts["notes"]),
    )


def _read(report: Path) -> dict[str, Any]:
    path = report / "report.json" if report.is_dir() else report
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = "expected the report.json of an evaluation"
        raise RelatumError(what, where=path, fix="run relatum evaluate first") from error


def _evaluation(facts: dict[str, Any]) -> str:
    """Lay out the frozen encoders and the fused vectors of each method, with 95 % intervals."""
    main = facts["sections"][0]
    rows = [["method", *TITLES.values()]]
    for row in main["rows"]:
        if row["way"] != "both" and row["method"] not in FROZEN.values():
            continue
        rows.append([row["method"], *(show(m, Number(**row["numbers"][m])) for m in TITLES)])
    table = markdown_table(rows[0], rows[1:])
    return f"{facts['headline']}\n\nIn %, MRR aside, with 95 % intervals:\n\n{table}"
