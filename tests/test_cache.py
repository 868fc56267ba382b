"""The token cache may be larger than memory: only the rows asked for are read."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from conftest import Settings
from relatum import Catalogue, train
from relatum.batch import Part
from relatum.encoders import TokenCache
from relatum.encoders.cache import open_cache
from relatum.items import text_key
from relatum.train import run

FILL = """
import sys, torch
from pathlib import Path
from relatum.batch import Part
from relatum.encoders import TokenCache
from relatum.items import text_key
cache = TokenCache(Path(sys.argv[1]))
tokens, mask = torch.zeros(4096, 4, 64), torch.ones(4096, 4, dtype=torch.bool)
for start in range(0, 200_000, 4096):
    keys = [text_key(str(n)) for n in range(start, min(start + 4096, 200_000))]
    pooled = torch.arange(start, start + 4096).remainder(2048)[:, None].expand(-1, 64)
    cache.write(keys, Part(tokens, mask, pooled.float())[: len(keys)])
"""
READ = """
import re, sys, torch
from pathlib import Path
from relatum.encoders import TokenCache
from relatum.batch import Part
from relatum.items import text_key
cache = TokenCache(Path(sys.argv[1]))
keys = [text_key(str(n)) for n in range(200_000)]
places = cache.find(keys)
# ru_maxrss would be that of the process it was started by, where that is larger
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
blank = Part(torch.zeros(1, 4, 64), torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 64))
view = cache.view(places, blank, lean=False)
before = peak()
for step in range(40):
    rows = torch.randint(200_000, (480,), generator=torch.Generator().manual_seed(step))
    assert torch.equal(view[rows].pooled[:, 0].int(), rows.remainder(2048).int())
print(peak() - before)
"""


def part(rows: int) -> Part:
    return Part(
        torch.randn(rows, 3, 4), torch.ones(rows, 3, dtype=torch.bool), torch.randn(rows, 5)
    )


def names(letters: str) -> list[str]:
    return [text_key(letter) for letter in letters]


def test_reading_pools_of_200_000_items_takes_little_memory(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FILL, str(tmp_path)], check=True)
    words = [sys.executable, "-c", READ, str(tmp_path)]
    grown = float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    size = sum(path.stat().st_size for path in tmp_path.iterdir()) / 2**20
    assert len(list(tmp_path.iterdir())) == 49 and size > 120
    assert grown < 25


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_training_from_disk_equals_training_from_memory(
    beta: float, catalogue: Catalogue, settings: Settings, cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    config = settings(model__beta=beta)
    held = train(catalogue, config, cache=cache)
    monkeypatch.setattr(run, "HELD", 0)
    read = train(catalogue, config, cache=cache)
    assert held.fingerprint == read.fingerprint


def test_a_lean_view_gives_the_same_vectors(
    catalogue: Catalogue, settings: Settings, cache: Path
) -> None:
    model = train(catalogue, settings(), cache=cache)
    lean = model.view(catalogue.items, cache=cache)
    assert not lean[:].image.tokens.any()
    whole = model.encode(catalogue.items, cache=cache)
    for text in (None, "are of the same colour"):
        one, other = model.condition(lean, text), model.condition(whole, text)
        assert torch.equal(one.both, other.both) and torch.equal(one.image, other.image)


def test_an_open_cache_sees_what_others_write_and_remove(tmp_path: Path) -> None:
    here = open_cache(tmp_path)
    TokenCache(tmp_path).write(names("ab"), part(2))
    assert open_cache(tmp_path) is here
    assert here.missing(names("abc")) == names("c")
    for path in tmp_path.iterdir():
        path.unlink()
    assert open_cache(tmp_path).missing(names("ab")) == names("ab")


def test_a_part_that_another_writer_is_at_is_left_alone(tmp_path: Path) -> None:
    writing = tmp_path / ".x.safetensors.abc.part"
    writing.touch()
    TokenCache(tmp_path)
    assert writing.exists()
