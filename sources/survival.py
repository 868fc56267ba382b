"""Rebuild the built-in catalogue `survival` from the Debian package `cataclysm-dda-data`.

In: the game's JSON objects and the UltimateCataclysm tile sheets, unpacked by `debian.py`.
Out: `src/relatum/catalogues/survival/` with its four tables, pictures, attribution and licence.
The relations between the chosen items are drawn up in `survival_relations.py`.

Run `python sources/survival.py` from the repository root.
"""

import json
import re
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from PIL import Image

import survival_relations as relations
import survival_words as words
from debian import unpack, write_tables

Record = dict[str, Any]

PACKAGE, VERSION = "cataclysm-dda-data", "0.F-3-9"
FOLDER = Path(__file__).parents[1] / "src/relatum/catalogues/survival"
LICENCE = "CC-BY-SA-3.0"
ITEM_TYPES = frozenset(
    "AMMO ARMOR BATTERY BIONIC_ITEM BOOK COMESTIBLE ENGINE GENERIC GUN GUNMOD MAGAZINE PET_ARMOR "
    "TOOL TOOLMOD TOOL_ARMOR WHEEL".split()
)
KINDS = {
    "AMMO": "supply",
    "ARMOR": "clothing",
    "COMESTIBLE": "food",
    "ENGINE": "engine",
    "GENERIC": "thing",
    "MAGAZINE": "battery or tank",
    "TOOL": "tool",
    "TOOL_ARMOR": "wearable tool",
    "WHEEL": "wheel",
}
MEALS = {"FOOD": "food", "DRINK": "drink", "MED": "medicine", "INVALID": "substance"}
BATTERIES = ("/items/battery", "/vehicle/battery", "/weldgas")  # the only magazines for no gun
ATTRIBUTION = f"""# Where this catalogue comes from

The texts, pictures and relations in this folder are taken from **Cataclysm: Dark Days Ahead**
(<https://github.com/CleverRaven/Cataclysm-DDA>), as packaged by Debian in `{PACKAGE}` {VERSION}.

- Game data: copyright Kevin Granade, BevapDin, Angela Graves, Coolthulhu, Christian Buskirk,
  KA101, Whales and many other contributors to Cataclysm: Dark Days Ahead.
- Pictures: the *Ultimate Cataclysm* tileset (UltiCa) and its contributors. The author of each
  tile is credited in the folders of
  <https://github.com/I-am-Erk/CDDA-Tilesets/tree/master/gfx/UltimateCataclysm>.
- Debian packaging: copyright 2018-2022 Reiner Herrmann.

Licence: Creative Commons Attribution-ShareAlike 3.0 Unported ({LICENCE}),
<https://creativecommons.org/licenses/by-sa/3.0/>. **This folder is under the same licence**; the
code of the project, which has a licence of its own, is not.

What we changed: we chose everyday things that have a picture of their own; joined name and
description into one text and removed the game's colour tags; cut each picture from its sheet, put
it on white and saved it at its native size; gave the items neutral ids; and rewrote recipes, item
groups, professions and the like as relations in plain English. Groups of more than
{relations.LARGEST} items are cut to a random sample of that size.

`python sources/survival.py`, in the project's repository, rebuilds this folder.
"""
LICENSE = f"""The content of this folder is licensed under the
Creative Commons Attribution-ShareAlike 3.0 Unported licence ({LICENCE}).

Summary:    https://creativecommons.org/licenses/by-sa/3.0/
Legal text: https://creativecommons.org/licenses/by-sa/3.0/legalcode

You may share and adapt it, also commercially, if you give credit as in ATTRIBUTION.md, say what
you changed and pass your adaptation on under the same licence. It comes without warranty.
"""


def read_objects(folder: Path) -> dict[str, dict[str, Record]]:
    """Return the game's objects by type and id, each with its `shelf`; all items are one type."""
    objects: dict[str, dict[str, Record]] = defaultdict(dict)
    for path in sorted(folder.rglob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for record in content if isinstance(content, list) else [content]:
            if isinstance(record, dict) and "type" in record:
                kind = "item" if record["type"] in ITEM_TYPES else record["type"]
                shelf = "/" + path.relative_to(folder).as_posix()
                objects[kind][name_record(record)] = {**record, "shelf": shelf}
    return objects


def name_record(record: Record) -> str:
    """Return the id that other records use to copy from this one."""
    if record["type"] == "recipe" and "result" in record and "abstract" not in record:
        return "_".join(filter(None, [record["result"], record.get("id_suffix")]))
    return str(record.get("id") or record.get("abstract") or "")


def resolve(record: Record, others: Mapping[str, Record]) -> Record:
    """Return the record with everything it copies from its ancestors.

    >>> parent = {"id": "cup", "weight": "100 g", "material": ["clay"]}
    >>> child = {"copy-from": "cup", "proportional": {"weight": 2}, "extend": {"material": ["tin"]}}
    >>> resolve(child, {"cup": parent})["weight"], resolve(child, {"cup": parent})["material"]
    ('200.0 g', ['clay', 'tin'])
    """
    parent = others.get(record.get("copy-from", ""))
    if parent is None or parent is record:
        return record
    inherited = {k: v for k, v in resolve(parent, others).items() if k not in ("abstract", "id")}
    for key in ("weight", "volume"):
        inherited.update(_scale(key, inherited.get(key), record))
    for key, values in record.get("extend", {}).items():
        inherited[key] = relations.as_list(inherited.get(key)) + relations.as_list(values)
    for key, values in record.get("delete", {}).items():
        inherited[key] = [
            v for v in relations.as_list(inherited.get(key)) if v not in relations.as_list(values)
        ]
    return {**inherited, **record}


def _scale(key: str, value: object, record: Record) -> Record:
    """Return the parent's weight or volume as the child's `proportional` or `relative` has it."""
    amount, unit = measure(value), "g" if key == "weight" else "ml"
    if amount is None:
        return {}
    factor = record.get("proportional", {}).get(key, 1)
    added = measure(record.get("relative", {}).get(key)) or 0
    return {key: f"{amount * factor + added} {unit}"}


def measure(value: object) -> float | None:
    """Return grams or millilitres, or nothing where the game gives neither.

    >>> measure("1 kg 200 g"), measure("750 ml"), measure(None)
    (1200.0, 750.0, None)
    """
    units = {"mg": 0.001, "g": 1, "kg": 1000, "ml": 1, "L": 1000}
    parts = re.findall(r"(-?[\d.]+) *(mg|kg|g|ml|L)\b", str(value))
    return sum(float(number) * units[unit] for number, unit in parts) if parts else None


def read_sprites(folder: Path) -> tuple[dict[str, int], dict[int, Image.Image]]:
    """Return the sprite number of each game id, and the pictures by sprite number.

    Numbers run on from sheet to sheet; a sheet holds as many as fit into its size, row by row.
    Only the small square sprites are cut out: the larger ones are landscape and monsters.
    """
    numbers: dict[str, int] = {}
    pictures: dict[int, Image.Image] = {}
    config = json.loads((folder / "tile_config.json").read_text(encoding="utf-8"))
    start = 0
    for tiles in config["tiles-new"]:
        numbers |= {id: sprite for tile in tiles["tiles"] for id, sprite in _read_tile(tile)}
        size = (tiles.get("sprite_width", 32), tiles.get("sprite_height", 32))
        cut = _cut_sheet(folder / tiles["file"], size)
        pictures |= {start + i: picture for i, picture in enumerate(cut) if size[0] == size[1] < 64}
        start += len(cut)
    return numbers, pictures


def _read_tile(tile: Record) -> Iterator[tuple[str, int]]:
    """Yield the ids of a tile, each with the first of its foreground sprites."""
    sprites = relations.as_list(tile.get("fg"))
    for id in relations.as_list(tile["id"]):
        if sprites:
            yield id, sprites[0]["sprite"] if isinstance(sprites[0], dict) else sprites[0]


def _cut_sheet(path: Path, size: tuple[int, int]) -> list[Image.Image]:
    """Return the sprites of a sheet, row by row, on white."""
    width, height = size
    with Image.open(path) as sheet:
        pixels = Image.new("RGBA", sheet.size, "white")
        pixels.alpha_composite(sheet.convert("RGBA"))
        pixels = pixels.convert("RGB")
    corners = [
        (x, y) for y in range(0, pixels.height, height) for x in range(0, pixels.width, width)
    ]
    return [pixels.crop((x, y, x + width, y + height)) for x, y in corners]


def choose(
    items: Mapping[str, Record], numbers: Mapping[str, int], pictures: Mapping[int, Image.Image]
) -> dict[str, Image.Image]:
    """Return the pictures of the friendly everyday things, no picture or name twice."""
    users = Counter(numbers[id] for id in items if id in numbers)
    seen: set[bytes | str] = {
        Image.new("RGB", (side, side), "white").tobytes() for side in (20, 32)
    }
    chosen: dict[str, Image.Image] = {}
    for id, record in items.items():
        number = numbers.get(id, -1)
        if number not in pictures or users[number] > 3 or not is_friendly(id, record):
            continue
        marks = {pictures[number].tobytes(), relations.name_of(record)}
        if not marks & seen:
            seen |= marks
            chosen[id] = pictures[number]
    return dict(sorted(chosen.items()))


def is_friendly(id: str, record: Record) -> bool:
    """Say whether an item is a real, described everyday thing that anyone may look at."""
    if record["type"] not in KINDS or words.SHELVES_LEFT_OUT.search(record["shelf"]):
        return False
    if record["type"] == "MAGAZINE" and not any(part in record["shelf"] for part in BATTERIES):
        return False
    name, text = relations.name_of(record), describe(record)
    if words.NAMES_LEFT_OUT.search(f"{id} {id.replace('_', ' ')} {name}"):
        return False
    states = words.STATES_LEFT_OUT.search(id) or words.STATES_LEFT_OUT.search(name)
    return bool(text) and not states and not words.STORIES_LEFT_OUT.search(text)


def describe(record: Record) -> str:
    """Return the name and description, without the game's colours, as the item's text."""
    description = record.get("description", "")
    if isinstance(description, dict):
        description = description.get("str") or description.get("str_sp") or ""
    text = re.sub(r"<[^>]*>", "", description)
    return " ".join(f"{relations.name_of(record)} – {text}".split()) if text.strip() else ""


def write_items(
    chosen: Mapping[str, Image.Image], objects: Mapping[str, Mapping[str, Record]]
) -> list[Record]:
    """Save the pictures at their native size and return the rows of `items`."""
    (FOLDER / "images").mkdir(parents=True)
    rows = []
    for number, (id, picture) in enumerate(chosen.items(), start=1):
        row = item_row(f"s{number:04}", objects["item"][id], objects)
        picture.save(FOLDER / row["image"], optimize=True)
        rows.append(row)
    return rows


def item_row(id: str, record: Record, objects: Mapping[str, Mapping[str, Record]]) -> Record:
    """Return one row of `items`; what the game does not say is null."""
    kind = MEALS.get(record.get("comestible_type", ""), KINDS[record["type"]])
    category = objects["ITEM_CATEGORY"].get(record.get("category", ""))
    materials = [words.MATERIALS.get(m) for m in relations.as_list(record.get("material"))]
    weight, volume = measure(record.get("weight")), measure(record.get("volume"))
    if volume is not None and record["type"] in ("AMMO", "COMESTIBLE"):  # the game's is a stack's
        stack = record.get("stack_size") or record.get("charges") or record.get("count") or 1
        volume = volume / max(stack, 1)
    return {
        "id": id,
        "text": describe(record),
        "image": f"images/{id}.png",
        "name": relations.name_of(record),
        "kind": kind,
        "category": relations.name_of(category).lower() if category else None,
        "materials": [m for m in dict.fromkeys(materials) if m],
        "weight_g": None if weight is None else round(weight, 2),
        "volume_ml": None if volume is None else round(volume, 2),
        "licence": LICENCE,
    }


def count_pairs(groups: Iterable[Record]) -> tuple[int, int]:
    """Return how many different pairs and items the groups link."""
    pairs = {pair for group in groups for pair in combinations(sorted(group["items"]), 2)}
    return len(pairs), len({id for pair in pairs for id in pair})


def report(tables: Mapping[str, list[Record]]) -> str:
    """Return a short table: relation, groups, linked pairs and items covered."""
    lines = [
        f"items {len(tables['items'])}",
        f"{'relation':24}{'groups':>8}{'pairs':>8}{'items':>8}",
    ]
    for relation in tables["relations"]:
        groups = [g for g in tables["groups"] if g["relation"] == relation["id"]]
        links = [k for k in tables["links"] if k["relation"] == relation["id"]]
        ends = {id for link in links for id in (link["source"], link["target"])}
        pairs, items = (len(links), len(ends)) if relation["directed"] else count_pairs(groups)
        lines.append(f"{relation['id']:24}{len(groups):8}{pairs:8}{items:8}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the folder anew and log what is in it."""
    game = unpack(PACKAGE, VERSION) / "usr/share/games/cataclysm-dda"
    raw = read_objects(game / "json")
    objects = {
        kind: {id: resolve(record, records) for id, record in records.items()}
        for kind, records in raw.items()
    }
    chosen = choose(objects["item"], *read_sprites(game / "gfx/UltimateCataclysm"))
    shutil.rmtree(FOLDER, ignore_errors=True)
    items = write_items(chosen, objects)
    ids = {id: row["id"] for id, row in zip(chosen, items, strict=True)}
    tables = {"items": items, **relations.build(objects, ids)}
    write_tables(FOLDER, **tables)
    (FOLDER / "ATTRIBUTION.md").write_text(ATTRIBUTION, encoding="utf-8")
    (FOLDER / "LICENSE.txt").write_text(LICENSE, encoding="utf-8")
    sys.stdout.write(report(tables))


if __name__ == "__main__":
    main()
