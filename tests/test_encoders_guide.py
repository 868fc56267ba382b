"""The guide's code and commands run as they stand."""

import re
import shlex
from pathlib import Path

import pytest

from conftest import write_catalogue
from test_cli import SETS, run

PAGE = (Path(__file__).parents[1] / "docs/encoders.md").read_text()


def test_the_guide_runs(
    tmp_path: Path,
    tiny_clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only training gets more settings, so that it takes seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RELATUM_CACHE", str(tmp_path / "cache"))
    write_catalogue(Path("shapes"))
    Path("clip").symlink_to(tiny_clip)
    shown = ""
    for language, code in re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL):
        if language == "python":
            exec(compile(code, "encoders.md", "exec"), {})
            assert "(48, 416)" in capsys.readouterr().out
            continue
        for line in code.strip().splitlines():
            _, *words = shlex.split(line)
            if words[0] == "train":
                words += [f"--set={pair}" for pair in SETS]
            code, out, err = run(capsys, *words)
            assert code == 0, (line, out, err)
            shown += out
    assert "ball" in shown
    assert Path("runs/mixed/adapter.safetensors").exists()
