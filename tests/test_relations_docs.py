"""The guides' commands run as they stand."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from relatum.cli import main
from relatum.relations.plan import BUILDERS
from test_relations import write_shop

PAGE = (Path(__file__).parents[1] / "docs/relations.md").read_text()
KINDS = {name: set(one.model_fields) for name, one in BUILDERS.items()}
QUICK = ("tokens.hidden=16", "model.dim=16", "training.steps=5", "training.pool_size=12")


def test_the_guides_run(
    tmp_path: Path,
    tiny_clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Run them on a small shop with tiny encoders and few steps, so that it takes seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RELATUM_CACHE", str(tmp_path / "cache"))
    write_shop(Path("shop"))
    for language, code in re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL):
        if language == "toml":
            Path("plan.toml").write_text(code)
        elif language == "python":
            exec(compile(code, "relations.md", "exec"), {})
        else:
            for line in code.strip().splitlines():
                words = shlex.split(line)
                if words[1] == "train":
                    words += [f"--set={pair}" for pair in (*QUICK, f"encoder={tiny_clip}")]
                monkeypatch.setattr(sys, "argv", words)
                with pytest.raises(SystemExit) as stop:
                    main()
                assert not stop.value.code, line
    shown = capsys.readouterr().out
    assert "under 'are bought together'" in shown
    report = json.loads(Path("runs/shop/report/report.json").read_text())
    (unseen,) = [one for one in report["sections"] if one["title"] == "Unseen relations"]
    assert "baskets" in json.dumps(unseen)
    assert Path("review.csv").exists() and Path("shop/mined/validation.html").exists()


def test_the_guide_lists_every_key_of_a_plan() -> None:
    for name, builder in BUILDERS.items():
        for key, field in builder.model_fields.items():
            having = [f"`{kind}`" for kind, keys in KINDS.items() if key in keys]
            ways = "all" if len(having) == len(KINDS) else f"`{name}`", ", ".join(having)
            assert key == "build" or any(f"| `{key}` | {of} | " in PAGE for of in ways), key
            assert key == "build" or f" | {field.description} |" in PAGE, key
