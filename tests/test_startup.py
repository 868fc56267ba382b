import subprocess
import sys
from pathlib import Path

import pytest

import relatum
import relatum.evaluate.evaluate  # noqa: F401 - the room must not hide the function
import relatum.train.train  # noqa: F401
from relatum.bulk.embed import SHARD
from relatum.cli import options
from relatum.prepare import KINDS as FILES
from relatum.study import KINDS as STUDIES

HEAVY = ("torch", "transformers", "lancedb", "sklearn", "matplotlib")


def test_what_help_says_is_what_the_rooms_say() -> None:
    assert (options.STUDIES, options.FILES, options.SHARD) == (STUDIES, FILES, SHARD)


@pytest.mark.parametrize("name", relatum.__all__)
def test_every_name_is_what_its_room_calls_so(name: str) -> None:
    found = getattr(relatum, name)
    assert callable(found) and found.__name__ == name and name in dir(relatum)
    space: dict[str, object] = {}
    exec(f"from relatum import {name}", space)
    assert space[name] is found


@pytest.mark.parametrize("load", ["relatum.errors.DataError", "relatum.store.Query"])
def test_a_room_is_loaded_when_it_is_named(load: str) -> None:
    asked = f"import relatum; print({load}.__name__); relatum.nothing"
    made = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=60)
    assert made.stdout.split() == [load.rsplit(".", 1)[1]]
    assert made.stderr.endswith("module 'relatum' has no attribute 'nothing'\n")


def test_a_function_that_names_the_package_goes_to_another_process() -> None:
    asked = "import relatum\ndef name(): return relatum.Config.__name__\n"
    asked += (
        "import sys; from ray import cloudpickle; sys.stdout.buffer.write(cloudpickle.dumps(name))"
    )
    made = subprocess.run([sys.executable, "-c", asked], capture_output=True, timeout=60)
    there = "import sys, pickle; print(pickle.loads(sys.stdin.buffer.read())())"
    told = subprocess.run([sys.executable, "-c", there], input=made.stdout, capture_output=True)
    assert told.stdout == b"Config\n", made.stderr + told.stderr


def test_what_is_wrong_with_a_dependency_is_told(tmp_path: Path) -> None:
    (tmp_path / "transformers").mkdir()
    (tmp_path / "transformers/__init__.py").write_text("raise AttributeError('no bool8')")
    asked = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from relatum import Model"
    made = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=60)
    assert "cannot load relatum.model: no bool8" in made.stderr


@pytest.mark.parametrize(
    "words",
    ["--help", "search --help", "validate nowhere", "mine nowhere", "prepare table nowhere -o out"],
)
def test_what_needs_no_model_does_not_wait_for_torch(words: str) -> None:
    asked = f"import sys; sys.argv[1:] = {words.split()}; from relatum.cli import main\n"
    asked += "try: main()\nexcept SystemExit: pass\n"
    asked += f"print('loaded', *(name for name in {HEAVY} if name in sys.modules))"
    made = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=60)
    assert made.stdout.splitlines()[-1].split() == ["loaded"], made.stderr
