import subprocess
import sys

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
