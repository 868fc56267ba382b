"""Build the built-in catalogue `furniture` from two Debian packages.

In: `sweethome3d-furniture` (pictures, names, measures) and `wordnet-base` (glosses for the names).
Out: the folder `src/relatum/catalogues/furniture/`, the same bytes at every run.
This file does not know how the catalogue is read, split or learned from.
Run: `python sources/furniture.py`.
"""

import io
import logging
import math
import random
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations, count
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from PIL import Image, ImageOps

from debian import unpack, write_tables

Row = dict[str, Any]
FOLDER = Path(__file__).parents[1] / "src/relatum/catalogues/furniture"
FURNITURE, WORDNET = ("sweethome3d-furniture", "1.8-1"), ("wordnet-base", "1:3.0-37")
LICENCES = """CC-BY-3.0 https://creativecommons.org/licenses/by/3.0/
CC-BY-3.0-US https://creativecommons.org/licenses/by/3.0/us/
CC0-1.0 https://creativecommons.org/publicdomain/zero/1.0/
"""
LIBRARIES = {
    "BlendSwap-CC-0": ("CC0-1.0", "the designers named below (published on Blend Swap)"),
    "BlendSwap-CC-BY": ("CC-BY-3.0", "the designers named below (published on Blend Swap)"),
    "KatorLegaz": ("CC-BY-3.0-US", "(C) 2003-2008 Andrew Kator & Jennifer Legaz"),
    "Reallusion": ("CC-BY-3.0-US", "(C) 2008-2016 Reallusion, http://www.reallusion.com/"),
    "Scopia": ("CC-BY-3.0", """(C) 2006-2020 Scopia Visual Interfaces Systems, s.l.
(http://www.scopia.es) and, for the icons and 265 of the models, (C) 2014-2020 Emmanuel PUYBARET /
eTeks <info@eteks.com>"""),
}  # fmt: skip
NOTICE = f"""# Attribution
The pictures come from the Debian package {" ".join(FURNITURE)} (http://www.sweethome3d.com/), the
glosses from {" ".join(WORDNET)}: WordNet 3.0, Copyright 2006 by Princeton University, all rights
reserved, licence in LICENSE.txt. What we changed: the human figures are left out; of each model
only the icon is kept, flattened on white and saved as WebP; some misspelt names are corrected; the
relations are derived from the names, tags, categories, designers and measures.

The data in this folder is licensed apart from the code. The pictures and names are under that
licence, of these, which `licence` in items.jsonl states, the glosses under that of WordNet:

{LICENCES}"""
RENAMED = """Barnum: Party tent, Bended coconut tree: Bent coconut tree, Flacon: Perfume bottle,
Flipper: Pinball machine, Gaz water heater: Gas water heater, Hashtray: Ashtray, Puff: Pouf,
Letters box: Letter box, Little bank: Little bench, Mocassin: Moccasin, Penbox: Pen box,
Short: Shorts, Socket: Sock, Teck chair: Teak chair, Toilets unit: Toilet unit, Trunck: Trunk,
Wire coathanger: Wire coat hanger, Wood bank: Wood bench"""
# What to look up instead of the end of a name, with the number of the sense; "-": no gloss.
SENSES = """antenna plug: -, artwork: lamp, bamboo: bamboo 2, bar table: table, barrel: cask 2,
base: -, bath: bathtub, bathmat: bath_mat, beetle: car, bell ring: doorbell, bike: bicycle, bill: -,
bootie: boot, bz: sofa_bed, chest: chest 4, chevrolet: car, coffee brewer: coffee_maker,
coffee machine: coffee_maker, coffee press: -, column: column 7, contemporary living room: -,
cypress: cypress 2, dart game: dartboard, device: -, dryer machine: clothes_dryer, extension: -,
fluorescent strip: fluorescent_lamp, focus: car, fryer: -, garden hut: shed, glove: glove 2,
hammer: hammer 2, helmet: helmet 2, hood: hood 6, hut: playhouse, ibook: laptop,
imac: desktop_computer, indoor bike: exercise_bike, iphone: cellular_telephone, island: -,
jacuzzi: hot_tub, joystick: joystick 2, keyboard: computer_keyboard, kitchen tools: kitchen_utensil,
lavatory: washbasin, leon: car, letter box: letter_box 3, log: -, maple: maple 2,
marker: highlighter 2, mixer: mixer 4, net: basketball_hoop, oil servers: cruet, pen box: -,
peugeot: car, plant: houseplant, plate: plate 4, plug: wall_socket, pool lounge: deck_chair,
poplar: poplar 2, pouf: pouf 2, r6: motorcycle, rail crossing: level_crossing, reel: reel 4,
right: -, ring: ring 8, rj45 plug: -, round table: table, scenic: car, scooter: -, screen: screen 9,
shutter: shutter 2, sign: -, skirt: skirt 2, slot: -, socket: wall_socket, speech unit: intercom,
station: -, table tennis bat: table-tennis_bat, table tennis: table-tennis_table, tablet: -,
tape: adhesive_tape, tatami: mat, tower: -, toy train: toy, trashcan: trash_can, trunk: trunk 2,
unit: toilet 2, van: van 5, vanity: -, wood logs: -"""
ROOMS = {"Exterior": "Outdoors", "Lights": "Lighting", "Staircases": "Stairs"}
PLACES = """Bathroom: a bathroom, Bedroom: a bedroom, Kitchen: a kitchen,
Living room: a living room, Office: an office, Outdoors: the open air"""
DROPPED = """3 4 Adjustable BlendSwap Cold Double Electrical Exterior Flat Four French Front Hanging
Haussmann Hot LCD LED Nitendo PS Plasma SCPTS Slide Sony Three Toboggan Xbox""".split()
TAG_TEXTS = {"Outdoor": "are meant for outdoors", "Japanese": "are Japanese in style"}
PLURALS = """Baby: babies, Balcony: balconies, Bookshelf: bookshelves, Box: boxes, Couch: couches,
Knife: knives, Mailbox: mailboxes"""
UNCOUNTED = """AC CCTV Candles Cinema Cleaning Clothes Cutlery Decoration Dining Electricity
Electronics Espresso Fire Fitness Flowers Food Fries Heating HiFi Jewelry Laundry Makeup Money Music
Pharmacy School Security Shelves Shoes Soccer Sport Stone Storage Swimming Trousers""".split()
MARKS = """black clear large little mini new old painted rectangle round rounded small sport square
white""".split()
# id: text > inverse of a directed relation | four paraphrases
RELATIONS = """\
same-room: belong in the same room | are used in the same room of the house | furnish the same room
  | would stand in the same room | share a room
same-kind: share a use or a kind | serve a similar purpose | are things of a similar kind
  | are used for much the same thing | come under the same heading
same-designer: are made by the same designer | come from the same designer | share a designer
  | were designed by the same person | are the work of one designer
same-height: are about the same height | are roughly as tall as each other | are equally tall
  | reach about equally high | have a similar height
same-footprint: take up about the same floor space | have footprints of about the same size
  | cover a similar area | need about as much floor as each other | are similar in width and depth
variants: are variants of one article | are versions of the same article | go by the same name
  | differ only in make, size or colour | are the same thing in another form
off-floor: are mounted off the floor | are fixed to a wall or hung from the ceiling
  | do not stand on the floor | are put up above the ground | hang on a wall or from the ceiling
light: give light | are sources of light | light up a place | can be used as a lamp | shine
fixed: are fixed parts of the house | are built into the house | cannot be moved about
  | are fitted for good | come with the building
suite: make a matching suite | belong to one set of furniture | are matching pieces for a room
  | form a set by one designer | go together as a set
larger: is a larger piece of the same kind than > is a smaller piece of the same kind than
  | is a bigger version of | is the same sort of thing but larger than | is the big brother of
  | outsizes, being of the same kind,
"""


def pairs(text: str) -> dict[str, str]:
    """Read "key: value, key: value"."""
    return dict(pair.strip().split(": ") for pair in text.split(","))


@dataclass(frozen=True)
class Piece:
    """One article: its row in `items`, and what only the relations and the notices use."""

    row: Row
    id: str
    name: str
    head: str
    kind: str
    tags: list[str]
    designers: list[str]
    size: tuple[float, float, float]
    hung: bool
    source: dict[str, str]
    picture: bytes
    credit: str


class Dictionary:
    """The nouns of WordNet: what a name means, and which words are one word."""

    def __init__(self, folder: Path) -> None:
        """Read the index; a sense is looked up in `data.noun` by its place there."""
        self.data = (folder / "data.noun").read_bytes()
        rows = [line.split() for line in (folder / "index.noun").open() if line[0] != " "]
        self.places = {row[0]: [int(place) for place in row[-int(row[2]) :]] for row in rows}
        self.irregular = dict(line.split()[:2] for line in (folder / "noun.exc").open())
        self.chosen = pairs(SENSES)

    def forms(self, word: str) -> list[str]:
        """Return `word` and what it may be the plural of, as far as the dictionary knows them."""
        endings = (("ies", "y"), ("es", "e"), ("es", ""), ("s", ""))
        cut = [word[: -len(end)] + new for end, new in endings if word.endswith(end)]
        found = [word, self.irregular.get(word, word), *cut]
        return [form for form in found if form in self.places]

    def lemma(self, word: str) -> str:
        """Return the singular of `word`, or the word itself."""
        return [word, *self.forms(word)][-1]

    def define(self, choice: str) -> str | None:
        """Return the gloss of "hood 6"; of "shed" its first artifact, else natural, sense."""
        word, _, number = choice.partition(" ")
        places = self.places.get(word, [])
        senses = [self.data[at : self.data.index(b"\n", at)].decode() for at in places]
        files = (["06"], ["13", "17", "20"])  # artifact; food, object, plant
        fit = [line for wanted in files for line in senses if line[9:11] in wanted]
        line = senses[int(number) - 1] if number else next(iter(fit), "")
        return line.partition(" | ")[2].split('; "')[0].strip(" ;") or None

    def gloss(self, name: str) -> str | None:
        """Explain the longest ending of `name` that the dictionary knows."""
        words = plain(name)
        for ending in (words[start:] for start in range(len(words))):
            if chosen := self.chosen.get(" ".join(ending)):
                return self.define(chosen)
            forms = (self.forms(joint.join(ending)) for joint in ("_", "", "-"))
            if found := next(filter(None, map(self.define, chain(*forms))), None):
                return found
        return None


def plain(name: str) -> list[str]:
    """Return the words of a name up to its first preposition, comma, dash or number."""
    cut = r" with | on | under | and | small panes|,| - | \d"
    return re.split(cut, name.lower())[0].split()


def article(name: str) -> str:
    """Return a name less its marks of variant: numbers, single letters, sizes and colours."""
    words = [word for word in plain(name) if len(word) > 1 and word not in MARKS]
    return " ".join(words) or name.lower()


def read_sources(archive: ZipFile) -> list[dict[str, str]]:
    """Read the numbered `key#n=value` lines of a library in order, the human figures left out."""
    text = archive.read("PluginFurnitureCatalog.properties").decode("latin-1")
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), text)
    rows: dict[int, dict[str, str]] = defaultdict(dict)
    for key, number, value in re.findall(r"^(\w+)#(\d+)=(.*?)\s*$", text, re.MULTILINE):
        rows[int(number)][key] = value
    return [row for _, row in sorted(rows.items()) if row["category"] != "Characters"]


def read_credit(archive: ZipFile, source: dict[str, str]) -> str:
    """Return the title, page and licence that a model states for itself."""
    folder = source["model"][1:].rpartition("/")[0] + "/"
    files = [file for file in archive.namelist() if file.startswith(folder)]
    notes = [archive.read(file) for file in files if "LICEN" in file.upper()]
    note = b"".join(notes).decode("utf-8", "replace")
    title = r'downloading "(.+?)" by|<title>\s*(?:\d+ - )?(.+?)\s*(?: - Downl| by .{1,30} - \d)'
    titles = ["“" + "".join(found) + "”" for found in re.findall(title, note, re.DOTALL)]
    pages = re.findall(r"http://www.blendswap.com/blends/view/\d+", note)
    asked = ["CC-BY-3.0"] if "licenses/by/3.0" in note else []
    return ", ".join(titles[:1] + pages[:1] + asked)


def read_pieces(folder: Path, words: Dictionary) -> Iterator[Piece]:
    """Read all the articles, library by library."""
    ids = (f"f{number:04}" for number in count(1))
    for library in sorted(LIBRARIES):
        with ZipFile(folder / f"{library}.sh3f") as archive:
            for source in read_sources(archive):
                yield read_piece(next(ids), library, archive, source, words)


def read_piece(
    id: str, library: str, archive: ZipFile, source: dict[str, str], words: Dictionary
) -> Piece:
    """Read one article; "Miscellaneous" is no room and "Blend Swap" no designer: both unknown."""
    name = pairs(RENAMED).get(source["name"], source["name"])
    room = ROOMS.get(source["category"], source["category"])
    designer = re.sub("^Blend ?Swap$", "", source["creator"]) or None
    gloss, credit = words.gloss(name), read_credit(archive, source)
    size = (float(source["width"]), float(source["depth"]), float(source["height"]))
    row: Row = {"id": id, "text": f"{name} – {gloss}" if gloss else name}
    row |= {"image": f"images/{id}.webp", "name": name}
    row |= {"room": room if room != "Miscellaneous" else None}
    tags = [tag.strip() for tag in source["tags"].split(",") if tag.strip()]
    row |= {"tags": tags, "designer": designer, "library": library}
    row |= dict(zip(("width_cm", "depth_cm", "height_cm"), size, strict=True))
    row |= {"licence": "CC-BY-3.0" if "CC-BY" in credit else LIBRARIES[library][0]}
    people = re.split(", | & ", designer) if designer and "Blend" in library else []
    hung = float(source.get("elevation", 0)) > 0 and source["doorOrWindow"] == "false"
    return Piece(
        row, id, name, words.lemma(plain(name)[-1]), gloss or article(name), tags,
        [person for person in people if person != "eTeks"], size, hung, source,
        archive.read(source["icon"][1:]), credit,
    )  # fmt: skip


def band(value: float, per_octave: int) -> str:
    """Return the class of log2 of `value`, in words."""
    step = math.floor(per_octave * math.log2(value))
    low, high = (2 ** (edge / per_octave) for edge in (step, step + 1))
    return f"{float(f'{low:.2g}'):g} to {float(f'{high:.2g}'):g}"


def tag_text(tag: str) -> str:
    """Say in words what two pieces with the tag share."""
    word = tag if re.search("[A-Z]", tag[1:]) else tag.lower()
    many = pairs(PLURALS).get(tag, word if tag in UNCOUNTED else word + "s")
    return f"both {TAG_TEXTS.get(tag, f'have to do with {many}')}"


def kinds(pieces: list[Piece], words: Dictionary) -> dict[str, set[str]]:
    """Map each tag to the pieces with it or named so; synonyms and near-equal tags are one tag."""
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    members: dict[str, set[str]] = defaultdict(set)
    tags = [tag for piece in pieces for tag in piece.tags]
    for tag in (tag for tag in tags if tag.replace(" ", "") not in DROPPED):
        lemma = words.lemma(tag.lower())
        key = str(words.places.get(lemma, [tag])[0])
        labels[key][tag] += 1
        members[key] |= {it.id for it in pieces if tag in it.tags or it.head == lemma}
    merged: dict[str, set[str]] = {}
    for key in sorted(members, key=lambda key: -labels[key].total()):
        ids, tag = members[key], labels[key].most_common(1)[0][0]
        near = [name for name, own in merged.items() if len(ids & own) > 0.7 * len(ids | own)]
        merged.setdefault([*near, tag][0], set()).update(ids)
    return merged


def shared(piece: Piece) -> Iterator[tuple[str, str]]:
    """Yield (relation, text of the group) for every group the piece is in, kinds apart."""
    width, depth, height = piece.size
    yield "same-height", f"both are about {band(height, 2)} cm tall"
    yield "same-footprint", f"both take up about {band(width * depth / 10_000, 1)} m² of floor"
    yield "variants", f"both are variants of one article: {article(piece.name)}"
    place = pairs(PLACES).get(str(piece.row["room"]))
    for person in piece.designers:
        yield "same-designer", f"both are designed by {person}"
        if place:
            yield "suite", f"both are pieces by {person} for {place}"
    if place:
        yield "same-room", f"both belong in {place}"
    if piece.hung:
        yield "off-floor", "both are mounted on a wall or hung from the ceiling"
    if "lightSourceX" in piece.source:
        yield "light", "both give light"
    if piece.source["doorOrWindow"] == "true":
        yield "fixed", "both are doors or windows"
    elif (
        piece.source["movable"] == "false" and place != "the open air" and "Road" not in piece.tags
    ):
        yield "fixed", "both are fittings of the house"


def groups(pieces: list[Piece], words: Dictionary) -> Iterator[Row]:
    """Yield the groups of two or more pieces, at most 120 of them each, by relation and text."""
    members: dict[tuple[str, str], set[str]] = defaultdict(set)
    for tag, ids in kinds(pieces, words).items():
        members["same-kind", tag_text(tag)] |= ids
    for piece in pieces:
        for key in shared(piece):
            members[key].add(piece.id)
    for (relation, text), ids in sorted(members.items()):
        items = sorted(random.Random(text).sample(sorted(ids), min(len(ids), 120)))
        name = re.sub(r"\W+", "-", text.removeprefix("both ").lower())
        if len(ids) > 1:
            yield {"relation": relation, "group": name, "items": items, "text": text}


def links(pieces: list[Piece]) -> Iterator[Row]:
    """Link a piece to four at most of the same kind that have no more than 2/3 of its volume."""
    for piece in pieces:
        alike = [other for other in pieces if other.kind == piece.kind]
        less = [it.id for it in alike if math.prod(it.size) * 1.5 <= math.prod(piece.size)]
        for target in sorted(random.Random(piece.id).sample(less, min(len(less), 4))):
            yield {"source": piece.id, "relation": "larger", "target": target}


def relations() -> Iterator[Row]:
    """Yield the relations with their texts, inverses and paraphrases."""
    for line in RELATIONS.replace("\n  |", " |").splitlines():
        name, wording = line.split(": ")
        text, *others = wording.split(" | ")
        text, _, inverse = text.partition(" > ")
        row: Row = {"id": name, "text": text, "directed": bool(inverse), "inverse": inverse or None}
        yield row | {"paraphrases": others}


def write_picture(piece: Piece) -> None:
    """Write the icon on white as WebP; the few of another size are fitted into 128 by 128."""
    icon = ImageOps.pad(Image.open(io.BytesIO(piece.picture)).convert("RGBA"), (128, 128))
    page = Image.new("RGBA", icon.size, "white")
    page.alpha_composite(icon)
    page.convert("RGB").save(FOLDER / str(piece.row["image"]), quality=80, method=6)


def write_notices(pieces: list[Piece], wordnet: Path) -> None:
    """Credit every library and model, and copy the notice that opens WordNet's own file."""
    lines = [NOTICE]
    for library, (licence, authors) in LIBRARIES.items():
        own = [piece for piece in pieces if piece.row["library"] == library]
        lines += [f"## {library}: {len(own)} items\nAuthors: {authors}. Licence: {licence}.\n"]
        for piece in own if "Blend" in library else []:
            credit = piece.credit or "no page"
            lines += [f"- {piece.id} {piece.name}: by {piece.source['creator']}; {credit}"]
    (FOLDER / "ATTRIBUTION.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    opening = (wordnet / "data.noun").read_text().partition("\n00001740 ")[0]
    notice = re.sub(r"^ *\d+ ?| +$", "", opening, flags=re.MULTILINE)
    terms = NOTICE.partition("\n\n")[2]
    (FOLDER / "LICENSE.txt").write_text(f"{terms}\n{notice}\n", encoding="utf-8")


def main() -> None:
    """Write the folder anew and log what is in it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    wordnet = unpack(*WORDNET) / "usr/share/wordnet"
    words = Dictionary(wordnet)
    pieces = list(read_pieces(unpack(*FURNITURE) / "usr/share/sweethome3d/furniture", words))
    grouped, linked = list(groups(pieces, words)), list(links(pieces))
    shutil.rmtree(FOLDER, ignore_errors=True)
    rows = [piece.row for piece in pieces]
    write_tables(FOLDER, items=rows, relations=relations(), groups=grouped, links=linked)
    (FOLDER / "images").mkdir()
    for piece in pieces:
        write_picture(piece)
    write_notices(pieces, wordnet)
    logging.info("%d items; relation, groups, linked pairs", len(pieces))
    for name in (row["id"] for row in relations()):
        sets = [combinations(row["items"], 2) for row in grouped if row["relation"] == name]
        ends = {(row["source"], row["target"]) for row in linked if row["relation"] == name}
        logging.info("%-15s %4d %6d", name, len(sets), len(ends.union(*sets)))


if __name__ == "__main__":
    main()
