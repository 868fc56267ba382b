"""The README's example runs as it stands."""

import re
from pathlib import Path

import pytest

import relatum
from relatum import Catalogue
from relatum.catalogue import Group

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run it on every third item and few steps, so that it takes seconds, not minutes."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 25
    whole = Catalogue.load("furniture")
    items = whole.items[::3]
    kept = {item.id for item in items}
    groups = [
        Group(g.relation, g.id, members, g.text)
        for g in whole.groups
        if len(members := tuple(name for name in g.items if name in kept)) > 1
    ]
    relations = whole.relations[:3]
    names = {relation.id for relation in relations}
    small = Catalogue(
        "furniture", items, relations, tuple(g for g in groups if g.relation in names)
    )
    quick = relatum.Config.load(sets=["training.steps=4", "training.pool_size=16"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(relatum.Catalogue, "load", lambda name: small)
    monkeypatch.setattr(relatum, "Config", lambda **values: quick)
    monkeypatch.setenv("RELATUM_CACHE", str(tmp_path / "cache"))
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "room and light agree" in out
    assert len(re.findall(r"^-?\d\.\d\d  ", out, flags=re.MULTILINE)) == 10
