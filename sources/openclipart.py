"""Build a catalogue of 5,000 clip art pictures; only the number of steps was tuned on it.

In: the Debian packages `openclipart-svg` (titles, tags, artists) and `openclipart-png` (pictures).
Out: a catalogue folder. Open Clip Art Library, public domain.
This file does not know how the catalogue is read, split or learned from.
Run: `python sources/openclipart.py [FOLDER]`.
"""

import colorsys
import html
import logging
import random
import re
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from debian import unpack, write_tables

Row = dict[str, Any]
FOLDER = Path(__file__).parents[1] / "runs/openclipart"
VERSION = "1:0.18+dfsg-19"
MOST, SIDE = 120, 128  # members of a group, pixels of a picture
LEFT_OUT = ("shapes/stars/",)  # 1,378 stars, drawn by one formula
RELATIONS = """tag: are about the same subject | have the same topic | are tagged alike
folder: belong on the same page of a picture library | would be filed together | are of one kind
artist: are drawn by the same artist | come from one hand | were made by one illustrator
theme: are icons of the same set | match in one desktop theme | share one icon style
twin: stand for the same thing in different icon sets | mean the same button | have one function
colour: have the same main colour | are coloured alike | match in colour"""
HUES = "red orange yellow green cyan blue purple pink".split()


@dataclass
class Picture:
    """One picture and what its file says of it."""

    id: str
    place: Path
    title: str
    tags: list[str]
    artist: str
    colour: str = ""


def parts(text: str, name: str) -> list[str]:
    """Return what stands in all elements of a name."""
    found = re.findall(rf"<{name}\b[^>]*>(.*?)</{name}>", text, re.DOTALL)
    return [" ".join(html.unescape(re.sub("<[^>]*>", " ", one)).split()) for one in found]


def read(root: Path) -> Iterator[Picture]:
    """Yield the pictures in the order of their places."""
    paths = sorted(path.relative_to(root) for path in root.rglob("*.svg"))
    for place in (path for path in paths if not path.as_posix().startswith(LEFT_OUT)):
        text = (root / place).read_text(encoding="utf-8", errors="replace")
        facts = text.partition("<metadata")[2].partition("</metadata>")[0]
        first = {name: (parts(facts, f"dc:{name}") or [""])[0] for name in ("title", "creator")}
        tags = {tag.lower() for tag in parts(facts, "rdf:li")} - {"", "hash", "unsorted"}
        yield Picture("", place, first["title"], sorted(tags), first["creator"])


def draw(source: Path) -> Image.Image | None:
    """Return a picture on white, padded to a square; None for the few of huge sizes."""
    try:
        whole = Image.open(source)
    except Image.DecompressionBombError:
        return None
    picture = ImageOps.pad(whole.convert("RGBA"), (SIDE, SIDE), color=(0, 0, 0, 0))
    page = Image.new("RGBA", picture.size, "white")
    page.alpha_composite(picture)
    return page.convert("RGB")


def colour(picture: Image.Image) -> str:
    """Name the hue of most coloured pixels, if it has a clear majority of a picture with colour."""
    small = picture.resize((24, 24), Image.Resampling.BOX).tobytes()
    points = [colorsys.rgb_to_hsv(*(one / 255 for one in small[k : k + 3]))
              for k in range(0, len(small), 3)]  # fmt: skip
    bold = [int(h * 8) for h, s, v in points if s > 0.35 and v > 0.25]
    hue, count = (Counter(bold).most_common(1) or [(0, 0)])[0]
    return HUES[hue] if len(bold) > 40 and count > 0.6 * len(bold) else ""


def words(place: Path) -> list[str]:
    """Return the words of a file's name, without numbers and the artist's, which stand last."""
    return [word for word in re.split(r"[\W_\d]+", place.stem.lower()) if len(word) > 2][:4]


def describe(picture: Picture, usual: Counter[str]) -> str | None:
    """Return a title that is its own, else the file's words; no word of a group's name."""
    own = picture.title if usual[picture.title] < 3 else " ".join(words(picture.place))
    told = {word for name in (*picture.tags, str(picture.place.parent), picture.artist)
            for word in re.split(r"[\W_]+", name.lower())}  # fmt: skip
    kept = [w for w in own.split() if re.sub(r"\W", "", w).lower().removesuffix("s")
            not in {one.removesuffix("s") for one in told}]  # fmt: skip
    return " ".join(kept) or None


def groups(pictures: list[Picture]) -> Iterator[Row]:
    """Yield the groups of 2 to `MOST` pictures; of a colour, a sample."""
    members: dict[tuple[str, str, str | None], set[str]] = defaultdict(set)
    for one in pictures:
        where = one.place.parts[:-1]
        for tag in one.tags:
            members["tag", tag, f"both are about {tag.replace('_', ' ')}"].add(one.id)
        members["folder", "/".join(where), None].add(one.id)
        members["artist", one.artist, None].add(one.id)
        if "icons" in where and len(where) > 2:
            members["theme", where[2], None].add(one.id)
            members["twin", "-".join(words(one.place)), None].add(one.id)
        if one.colour:
            members["colour", one.colour, f"both are mostly {one.colour}"].add(one.id)
    for number, ((relation, name, text), ids) in enumerate(sorted(members.items(), key=str)):
        chosen, sampled = sorted(ids), relation in ("colour", "theme")
        if sampled and len(ids) > MOST:
            chosen = sorted(random.Random(name).sample(chosen, MOST))
        if name and 2 <= len(chosen) <= MOST:
            yield {"relation": relation, "group": f"{number}", "items": chosen, "text": text}


def main() -> None:
    """Write the folder anew and log what is in it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    kinds = ("svg", "png")
    svg, png = (unpack(f"openclipart-{k}", VERSION) / f"usr/share/openclipart/{k}" for k in kinds)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    pictures, seen = [], set()
    for one in read(svg):
        image = draw((png / one.place).with_suffix(".png"))
        if image is not None and image.tobytes() not in seen:  # one picture, one item
            seen.add(image.tobytes())
            one.id, one.colour = f"o{len(seen):04}", colour(image)
            image.save(folder / f"images/{one.id}.webp", quality=80)
            pictures.append(one)
    usual = Counter(one.title for one in pictures)
    rows = [{"id": one.id, "text": describe(one, usual), "image": f"images/{one.id}.webp",
             "kind": one.place.parts[0]} for one in pictures]  # fmt: skip
    told = [line.split(": ") for line in RELATIONS.splitlines()]
    relations = [{"id": name, "text": wording.split(" | ")[0],
                  "paraphrases": wording.split(" | ")[1:]} for name, wording in told]  # fmt: skip
    grouped = list(groups(pictures))
    write_tables(folder, items=rows, relations=relations, groups=grouped)
    logging.info("%d items; relation, groups, linked pairs", len(pictures))
    for name, _ in told:
        sets = [combinations(row["items"], 2) for row in grouped if row["relation"] == name]
        logging.info("%-8s %4d %7d", name, len(sets), len(set().union(*sets)))


if __name__ == "__main__":
    main()
