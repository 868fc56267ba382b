"""What the user can fix is one line and exit code 2; results can be read by machines."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.table import Table
from typer.testing import CliRunner

from conftest import write_catalogue
from relatum import Config
from relatum.cli import app, main, options

SETS = ("tokens.hidden=16", "model.dim=16", "training.steps=5", "training.pool_size=12")


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Run the command line in this process; return exit code, stdout and stderr."""
    before = sys.argv
    sys.argv = ["relatum", *map(str, words)]
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.argv = before
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue large enough for questions with 20 negatives."""
    return write_catalogue(tmp_path_factory.mktemp("data") / "many", copies=8)


@pytest.fixture(scope="module")
def model(
    shapes: Path, tiny_clip: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("cli") / "model"
    sets = [f"--set={pair}" for pair in (*SETS, f"encoder={tiny_clip}")]
    words = ["train", str(shapes), "-o", str(output), *sets, f"--cache={cache}"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return output


def test_the_steps_follow_one_another(
    model: Path,
    shapes: Path,
    cache: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keep = f"--cache={cache}"
    code, out, _ = run(capsys, "index", model, shapes, "-o", tmp_path / "store", keep, "--json")
    assert code == 0 and json.loads(out)["items"] == 96 and json.loads(out)["untold"] == []
    words = ["search", tmp_path / "store", "--item", "i000", "--json", "-k", 3]
    code, out, _ = run(capsys, *words, "--relation", "are of the same colour")
    hits = json.loads(out)
    assert code == 0 and len(hits) == 3 and hits[0]["rank"] == 1
    code, out, _ = run(capsys, *words[:-3], "--relation", "are of the same colour")
    assert code == 0 and "rank" in out and "linked" in out and "✓" in out
    code, out, _ = run(capsys, *words[:2], "--text", "a red ball", "-k", 3)
    assert code == 0 and "linked" not in out
    table = Table("id")
    table.add_row(300 * "x")
    table.add_row("[new] lamp [/b]")
    options.out.print(table)
    told = capsys.readouterr().out  # no terminal: nothing is cut off
    assert 300 * "x" in told and "[new] lamp [/b]" in told
    vectors = tmp_path / "vectors.parquet"
    code, _, _ = run(capsys, "embed", model, shapes, "-o", vectors, "--relation", "is", keep)
    assert code == 0 and pq.read_table(vectors).num_rows == 96
    code, out, _ = run(capsys, "evaluate", model, shapes, "-o", tmp_path / "report", keep, "--json")
    assert code == 0 and json.loads(out)
    assert (tmp_path / "report/report.html").exists()


def test_validate_lists_all_and_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes = write_catalogue(tmp_path / "shapes", copies=2)
    code, out, _ = run(capsys, "validate", shapes)
    assert code == 0 and out.endswith("0 errors, 2 warnings, 2 notes\n")
    (shapes / "images/i000.png").write_bytes(b"<html>")
    (shapes / "images/i001.png").unlink()
    code, out, _ = run(capsys, "validate", shapes)
    assert code == 2
    assert "items.jsonl:1" in out and "items.jsonl:2" in out and "\n2 errors" in out
    code, out, _ = run(capsys, "validate", shapes, "--json")
    assert code == 2 and {problem["id"] for problem in json.loads(out)} >= {"i000", "i001"}


def test_skip_bad_trains_on_the_rest_and_says_what_it_left_out(
    tmp_path: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes = write_catalogue(tmp_path / "shapes", copies=2)
    picture = shapes / "images/i003.png"
    picture.write_bytes(picture.read_bytes()[:60])
    words = ["train", shapes, "-o", tmp_path / "model", f"--cache={tmp_path / 'cache'}"]
    words += [f"--set={pair}" for pair in (*SETS, f"encoder={tiny_clip}")]
    code, _, err = run(capsys, *words)
    line = err.strip().splitlines()[-1]
    assert code == 2 and "item 'i003'" in line and "--skip-bad" in line
    assert not (tmp_path / "model/relatum.json").exists()
    code, _, err = run(capsys, *words, "--skip-bad")
    assert code == 0 and "left out: items.jsonl:4" in err
    assert (tmp_path / "model/relatum.json").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "nowhere", "-o", "x"], "no catalogue at 'nowhere'"),
        (["train", "furniture", "-o", "x", "--set", "model.betta=1"], "unknown setting"),
        (["train", "furniture", "-o", "x", "--config", "no.toml"], "cannot read the settings"),
        (["index", "nowhere", "furniture", "-o", "x"], "not a model folder"),
        (["search", "nowhere", "--text", "x"], "nowhere"),
        (["train", "furniture", "-o", "/dev/null/x"], "a file stands where a folder is needed"),
        (["search", "nowhere", "--text", "x", "-k", "0"], "-k: expected at least 1, got 0"),
        (["search", "nowhere"], "expected --item, --text or --image"),
        (["search", "nowhere", "--text", "x", "--example", "a"], "expected two ids, got 'a'"),
        (["embed", "m", "furniture", "-o", "x", "--modality", "smell"], "got 'smell'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    assert code == 2
    assert err.startswith("relatum: ") and err.count("\n") == 1 and expected in err
    assert not out and not list(tmp_path.iterdir())


def test_an_unknown_item_in_a_search_is_one_line(
    model: Path, shapes: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "index", model, shapes, "-o", tmp_path / "store", f"--cache={cache}")
    code, _, err = run(capsys, "search", tmp_path / "store", "--item", "nobody")
    assert code == 2 and "'nobody'" in err and err.count("\n") == 1


def test_the_command_runs_as_a_program() -> None:
    words = [sys.executable, "-m", "relatum.cli", "--help"]
    shown = subprocess.run(words, check=True, capture_output=True, text=True)
    for command in ("validate", "train", "evaluate", "index", "search", "embed", "quickstart"):
        assert command in shown.stdout


def test_the_docs_list_every_setting() -> None:
    page = (Path(__file__).parents[1] / "docs/api.md").read_text()
    for name, field in Config.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        for key, one in (inner or {name: field}).items():
            full = f"{name}.{key}" if inner else name
            default = json.dumps(one.default)
            assert f"| `{full}` | `{default}` | {one.description}" in page, full
