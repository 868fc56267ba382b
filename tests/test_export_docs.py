"""The export guide runs as it stands."""

import json
import re
import shlex
from pathlib import Path

import pytest

from conftest import Settings
from relatum import train
from relatum.catalogue import Catalogue
from test_cli import run
from test_export import REPORT

PAGE = (Path(__file__).parents[1] / "docs/export.md").read_text()


def test_the_guide_runs(
    catalogue: Catalogue,
    folder: Path,
    settings: Settings,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Run it on coloured shapes with tiny encoders, so that it takes seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RELATUM_CACHE", str(cache))
    Path("shop").symlink_to(folder)
    quick = settings(training__steps=2, training__validate_every=2)
    train(catalogue, quick, "runs/furniture", cache=cache)
    Path("runs/furniture/report").mkdir()
    Path("runs/furniture/report/report.json").write_text(json.dumps(REPORT))
    shapes: list[str] = []
    for language, code in re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL):
        if language == "python":
            monkeypatch.syspath_prepend(tmp_path / "runs/onnx")
            exec(compile(code, "export.md", "exec"), {})
            shapes.append(capsys.readouterr().out.strip().splitlines()[-1])
        else:
            result = run(capsys, *shlex.split(code)[1:])
            assert result[0] == 0, result
    assert shapes == ["(1, 48)", "(2, 48)", "(2, 48)", "(2, 48)"]
