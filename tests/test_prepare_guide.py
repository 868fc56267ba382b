"""The commands of docs/prepare.md run as they stand, on a small category."""

import re
import shlex
from pathlib import Path

import pytest

from relatum.catalogue import Catalogue
from relatum.prepare import KINDS
from test_cli import SETS, run
from test_prepare_kinds import lines, picture

GUIDE = Path(__file__).parents[1] / "docs/prepare.md"
COLOURS = ("red", "green", "blue", "black")


def write_category(folder: Path) -> None:
    """Write 96 products of 8 brands and 4 categories, and reviews that stay within a brand."""
    folder.mkdir()
    for colour in COLOURS:
        (folder / f"{colour}.png").write_bytes(picture(colour))
    products = [
        {
            "asin": f"B{k:03}",
            "title": f"<b>{COLOURS[k % 4]}</b> pen &amp; paper {k}",
            "description": [f"A {COLOURS[k % 4]} thing for the office, number {k}."],
            "brand": f"by Brand {k % 8}",
            "category": ["Office Products", f"Pens {k % 4}"],
            "price": f"${k + 1}.00",
            "also_buy": [f"B{(k + 8 * step) % 96:03}" for step in (1, 2, 3)],
            "imageURLHighRes": [f"{COLOURS[k % 4]}.png"],
        }
        for k in range(96)
    ]
    lines(folder / "meta_Office_Products.json.gz", [*products, {"asin": None, "title": "bad"}])
    reviews = [
        {"reviewerID": f"A{k}", "asin": f"B{(k % 8 + 8 * step) % 96:03}", "unixReviewTime": step}
        for k in range(80)
        for step in range(k % 5, k % 5 + 4)
    ]
    lines(folder / "Office_Products.json.gz", reviews)


def write_shop(folder: Path) -> None:
    """Write a table of forty products of two brands with pictures, and two hundred orders."""
    (folder / "photos").mkdir()
    for colour in COLOURS:
        (folder / f"photos/{colour}.png").write_bytes(picture(colour))
    rows = ["sku,title,description,file,brand"]
    rows += [
        f's{k},Lamp {k},"A thing, {COLOURS[k % 4]}.",{COLOURS[k % 4]}.png,{("Acme", "Bell")[k % 2]}'
        for k in range(40)
    ]
    (folder / "shop.csv").write_text("\n".join(rows))
    orders = [f"o{k},s{(k + 4 * step) % 40}" for k in range(200) for step in range(3)]
    (folder / "orders.csv").write_text("\n".join(["order_id,item", *orders]))


def test_the_guide_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiny_clip: Path,
) -> None:
    """Only training gets more settings, so that it takes a second."""
    write_category(tmp_path / "raw")
    write_shop(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RELATUM_CACHE", str(tmp_path / "cache"))
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    own = blocks.pop()
    code, shown, err = run(capsys, *shlex.split(own.replace("\\\n", ""))[1:])
    assert code == 0, (shown, err)
    shop = Catalogue.load("shop")
    assert [item.metadata["brand"] for item in shop.items] == ["Acme", "Bell"] * 20
    assert all(item.image for item in shop.items) and shop.items[0].text == "Lamp 0. A thing, red."
    assert {"brand", "baskets"} <= {relation.id for relation in shop.relations}
    for line in "".join(blocks).strip().splitlines():
        program, *words = shlex.split(line)
        assert program == "relatum"
        if words[0] == "train":
            words += [f"--set={pair}" for pair in (*SETS, f"encoder={tiny_clip}")]
        code, shown, err = run(capsys, *words)
        assert code == 0, (line, shown, err)
    assert "have the same brand" in shown and "pen & paper" in shown
    catalogue = Catalogue.load("office")
    assert len(catalogue.items) == 96
    assert {relation.text for relation in catalogue.relations} >= {"have the same brand"}
    assert len((tmp_path / "office/problems.jsonl").read_text().splitlines()) == 1


def test_the_guide_lists_every_kind() -> None:
    page = GUIDE.read_text()
    assert all(f"| `{kind}` |" in page for kind in KINDS)
