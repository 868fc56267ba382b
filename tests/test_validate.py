"""Validation tells errors, warnings and notes apart, counts them and shows examples."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from conftest import write_catalogue, write_rows
from relatum.catalogue import Catalogue, examine, split_catalogue
from relatum.catalogue.copies import close_pairs, joined, picture_look, variant_key
from relatum.catalogue.examine import problems_page
from relatum.catalogue.overlap import jaccard, neighbours, sample_rows
from relatum.catalogue.page import Table, markdown
from relatum.catalogue.tables import Problem
from relatum.cli import app
from relatum.config import SplitConfig


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    return write_catalogue(tmp_path / "shapes", copies=4)


def about(problems: list[Problem], words: str) -> Problem:
    return next(problem for problem in problems if words in problem.what)


def scene(seed: int) -> Image.Image:
    """A picture with structure: smooth random shades."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((96, 96), Image.Resampling.BICUBIC)


def test_a_good_catalogue_has_no_errors_or_warnings(shapes: Path) -> None:
    found = examine(shapes)
    assert {problem.severity for problem in found} <= {"warning", "note"}
    assert not any("share their picture" in problem.what for problem in found)


def test_copies_are_counted_with_examples(shapes: Path) -> None:
    for name in ("i001", "i002"):
        shutil.copy(shapes / "images/i000.png", shapes / f"images/{name}.png")
    found = about(examine(shapes), "share their picture")
    assert (found.severity, found.count, found.examples) == ("warning", 3, ("i000 = i001 = i002",))


def test_a_copy_is_found_after_scaling_and_compression(tmp_path: Path) -> None:
    pictures = [scene(seed) for seed in range(40)]
    scene(3).resize((70, 70)).save(tmp_path / "copy.jpg", quality=40)
    pictures.append(Image.open(tmp_path / "copy.jpg"))
    looks = np.stack([picture_look(picture) for picture in pictures])
    assert close_pairs(looks).tolist() == [[3, 40]]


def test_close_pairs_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    looks = np.zeros((60, 208), dtype=np.uint8)
    looks[:, :16] = rng.integers(0, 256, (60, 16))
    for row in range(30):  # copies with up to six bits changed
        bits = np.unpackbits(looks[row, :16])
        bits[rng.permutation(128)[: row % 7]] ^= 1
        looks[row + 30, :16] = np.packbits(bits)
    expected = [
        [a, b]
        for a in range(60)
        for b in range(a + 1, 60)
        if np.bitwise_count(looks[a, :16] ^ looks[b, :16]).sum() <= 6
    ]
    assert close_pairs(looks).tolist() == expected and len(expected) == 30


def test_variants_differ_in_numbers_sizes_and_colours() -> None:
    assert variant_key("Red shirt, XL, 42 cm") == variant_key("shirt blue small")
    assert variant_key("shirt") != variant_key("skirt")
    assert joined(np.array([[0, 1], [1, 4]]), 6) == [[0, 1, 4]]


def test_leaks_across_the_split_are_found(shapes: Path) -> None:
    split = split_catalogue(Catalogue.load(shapes), SplitConfig(seed=0))
    scene(0).save(shapes / f"images/{(train := split.train[0])}.png")
    scene(0).resize((90, 90)).save(shapes / f"images/{(test := split.test[0])}.png")
    rows = rows_of(shapes / "items.jsonl")
    for row in rows:
        if row["id"] in (train, test):
            row["image"] = f"images/{row['id']}.png"
    write_rows(shapes, "items", rows)
    found = about(examine(shapes), "near-copy among the training items")
    assert found.severity == "warning" and f"{test} ~ {train}" in found.examples


def test_relations_that_are_too_small_too_large_or_the_same_are_warned_of(shapes: Path) -> None:
    ids = [row["id"] for row in rows_of(shapes / "items.jsonl")]
    relations = rows_of(shapes / "relations.jsonl")
    relations += [{"id": "all", "text": "are things"}, {"id": "two", "text": "are a pair"}]
    relations += [{"id": "tint", "text": "have the same tint"}]
    groups = rows_of(shapes / "groups.jsonl")
    groups += [{**g, "relation": "tint"} for g in groups if g["relation"] == "colour"]
    groups += [{"relation": "all", "group": "all", "items": ids}]
    groups += [{"relation": "two", "group": "two", "items": ids[:2]}]
    write_rows(shapes, "relations", relations)
    write_rows(shapes, "groups", groups)
    found = examine(shapes)
    assert about(found, "'two' links 2 items").severity == "warning"
    assert about(found, "'all' links 100% of all pairs").id == "all"
    assert about(found, "'colour' and 'tint' have 100%").severity == "warning"


def test_unlinked_items_are_a_note_and_told_labels_a_warning_where_most_are(shapes: Path) -> None:
    rows = rows_of(shapes / "items.jsonl")
    write_rows(shapes, "items", [*rows, {"id": "alone", "text": "a lone thing", "image": None}])
    found = examine(shapes)
    assert about(found, "1 of 49 items stand in no relation").examples == ("alone",)
    told = about(found, "'colour'")
    assert told.severity == "warning" and "both are" in told.examples[0]
    rows = [row | {"text": "a thing"} if n % 3 else row for n, row in enumerate(rows)]
    write_rows(shapes, "items", rows)
    assert about(examine(shapes), "'colour'").severity == "note"
    groups = rows_of(shapes / "groups.jsonl")
    for group in groups:
        group["text"] = f"{group.get('text', '')} thing"  # a word of all groups tells none
    write_rows(shapes, "groups", groups)
    assert about(examine(shapes), "'colour'").count == told.count // 3


def test_a_long_list_is_whole_for_programs_and_cut_for_people(tmp_path: Path) -> None:
    ids = [f"i{number:04}" for number in range(1030)]
    write_rows(tmp_path, "items", [{"id": name, "text": name, "image": None} for name in ids])
    write_rows(tmp_path, "relations", [{"id": "r", "text": "go together"}])
    write_rows(tmp_path, "groups", [{"relation": "r", "group": "g", "items": ids[:25]}])
    lone = about(examine(tmp_path), "1,005 of 1,030 items stand in no relation")
    assert lone.examples == tuple(ids[25:]) and lone.count == 1005
    shown = problems_page(tmp_path, [lone])
    assert "i1024" in shown and "i1025" not in shown and "and 5 more (--json)" in shown
    told = CliRunner().invoke(app, ["validate", str(tmp_path)]).output
    assert "and 1,000 more: --json lists all, --html FILE a thousand" in told


def test_groups_with_the_same_members_are_named_together(shapes: Path) -> None:
    groups = rows_of(shapes / "groups.jsonl")
    first = next(group for group in groups if group["relation"] == "colour")
    write_rows(shapes, "groups", groups)
    assert not any("share all members" in problem.what for problem in examine(shapes))
    again = {**first, "group": "again", "text": "share a tint", "items": first["items"][::-1]}
    write_rows(shapes, "groups", [*groups, again])
    told = about(examine(shapes), "under 'colour', 2 groups share all members with another")
    assert told.severity == "note" and told.examples == (f"{first['text']} = share a tint",)


def test_neighbours_and_overlap_equal_those_of_the_graph(catalogue: Catalogue) -> None:
    rows = {item.id: row for row, item in enumerate(catalogue.items)}
    sample = sample_rows(len(rows), 10)
    near = {
        name: neighbours(
            [group for group in catalogue.groups if group.relation == name],
            [link for link in catalogue.links if link.relation == name],
            rows,
            sample,
        )
        for name in ("colour", "shape", "larger")
    }
    sets = {
        name: {(row, col) for row, col in zip(*matrix.nonzero(), strict=True)}
        for name, matrix in near.items()
    }
    assert len(sets["colour"]) == 10 * 11
    both, either = sets["colour"] & sets["larger"], sets["colour"] | sets["larger"]
    assert jaccard(near["colour"], near["larger"]) == pytest.approx(len(both) / len(either))


def test_the_command_writes_text_json_and_a_page(shapes: Path, tmp_path: Path) -> None:
    shutil.copy(shapes / "images/i000.png", shapes / "images/i001.png")
    page = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["validate", str(shapes), "--json", f"--html={page}"])
    assert done.exit_code == 0
    assert {"warning", "note"} == {problem["severity"] for problem in json.loads(done.output)}
    text = page.read_text()
    assert "i000 = i001" in text and "http" not in text.replace("http://www.w3.org", "")
    (shapes / "images/i005.png").write_bytes(b"<html>")
    assert CliRunner().invoke(app, ["validate", str(shapes)]).exit_code == 2


def test_a_bar_in_a_cell_parts_no_column() -> None:
    (*_, line) = markdown("t", "h", [Table("T", "a", ("col",), (("x|y",),))]).strip().splitlines()
    assert line == "| x\\|y |"
