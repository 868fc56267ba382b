"""Draw up the relations between the chosen items of the catalogue `survival`.

In: the game's resolved objects by type and id, and the public id of each chosen item.
Out: the rows of `relations`, `groups` and `links`.
This file does not know how items are chosen, described or pictured.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import survival_words as words

Record = dict[str, Any]
Objects = Mapping[str, Mapping[str, Record]]
Groups = Mapping[str, tuple[str, Iterable[str]]]  # text and game ids, by the group's id

PLACES = Path(__file__).with_name("survival_places.txt")
LARGEST = 120


@dataclass(frozen=True)
class Recipe:
    """What it takes to make one item: the ids of alternatives count as much as what is required."""

    result: str
    components: frozenset[str]
    tools: frozenset[str]
    qualities: frozenset[str]
    skills: frozenset[str]
    books: frozenset[str]


def build(objects: Objects, ids: Mapping[str, str]) -> dict[str, list[Record]]:
    """Return the rows of the tables `relations`, `groups` and `links`."""
    recipes = [read_recipe(record, objects) for record in craftable(objects, ids)]
    groups = {
        "place": group_places(objects),
        "ingredient": group_ingredients(recipes, objects),
        "tool_needed": group_tools(recipes, objects),
        "material": group_materials(objects, ids),
        "skill": group_skills(recipes, objects),
        "job": group_jobs(objects, ids),
        "profession": group_professions(objects),
        "worn": group_worn(objects, ids),
        "supply": group_supplies(objects, ids),
        "book": group_books(recipes, objects),
    }
    links = [*link("made_from", recipes, ids), *link("made_with", recipes, ids)]
    return {
        "relations": [relation_row(*row) for row in words.RELATIONS],
        "groups": [row for id, found in groups.items() for row in group_rows(id, found, ids)],
        "links": links,
    }


def relation_row(id: str, text: str, inverse: str | None, *paraphrases: str) -> Record:
    """Return one row of `relations`; a relation with an inverse is directed."""
    directed = {"directed": True, "inverse": inverse} if inverse else {"directed": False}
    return {"id": id, "text": text, **directed, "paraphrases": list(paraphrases)}


def group_rows(relation: str, groups: Groups, ids: Mapping[str, str]) -> Iterator[Record]:
    """Yield the groups of two and more, each set of items once, no group above the largest."""
    seen: set[frozenset[str]] = set()
    for group, (text, members) in sorted(groups.items()):
        chosen = frozenset(ids[member] for member in members if member in ids)
        if len(chosen) < 2 or chosen in seen:
            continue
        seen.add(chosen)
        sample = random.Random(f"{relation}/{group}").sample(sorted(chosen), len(chosen))
        row = {"relation": relation, "group": group, "items": sorted(sample[:LARGEST])}
        yield {**row, "text": text}


def link(relation: str, recipes: Iterable[Recipe], ids: Mapping[str, str]) -> Iterator[Record]:
    """Yield the links from products to their pictured ingredients or tools."""
    pairs = set()
    for recipe in recipes:
        needed = recipe.components if relation == "made_from" else recipe.tools
        pairs |= {(ids[recipe.result], ids[id]) for id in needed if id in ids}
    for source, target in sorted(pairs):
        if source != target:
            yield {"source": source, "relation": relation, "target": target}


def name_of(record: Record) -> str:
    """Return the name of an object for one piece, without its state.

    >>> name_of({"name": {"str": "flashlight (off)", "str_pl": "flashlights (off)"}})
    'flashlight'
    """
    name = record.get("name") or ""
    if isinstance(name, dict):
        name = name.get("str_sp") or name.get("str") or name.get("male") or ""
    return _strip_state(name)


def plural_of(record: Record) -> str:
    """Return the name of an object for several pieces, or for some of it.

    >>> plural_of({"name": {"str": "rag"}}), plural_of({"name": {"str_sp": "duct tape"}})
    ('rags', 'duct tape')
    """
    name = record.get("name") or ""
    if isinstance(name, dict):
        name = name.get("str_sp") or name.get("str_pl") or _add_s(name.get("str", ""))
    singular = name_of(record)
    return singular if words.MASS.search(singular) else _strip_state(name)


def article_and_name(record: Record) -> str:
    """Return the name of a thing as it follows "with": what is counted has an article.

    >>> article_and_name({"name": {"str": "angle grinder"}})
    'an angle grinder'
    """
    name = record.get("name") or ""
    if isinstance(name, dict) and "str_sp" in name:
        return name_of(record)
    return with_article(name_of(record))


def with_article(name: str) -> str:
    """Return the name after "a" or "an".

    >>> with_article("EMT"), with_article("used car salesman"), with_article("RC car")
    ('an EMT', 'a used car salesman', 'an RC car')
    """
    spelt_out = re.match(r"(?!RAM|SWAT)[FHLMNRSX](-|[A-Z\d]+\b)", name)
    is_open = spelt_out or re.match(r"(?!uni|use|USB|eu|one)[aeioAEIOu]", name)
    return f"{'an' if is_open else 'a'} {name}"


def _add_s(name: str) -> str:
    """Return a name of one piece with an "s", before the state the game gives it."""
    return re.sub(r"( \(.*\))?$", r"s\1", name, count=1)


def _strip_state(name: str) -> str:
    """Return a name without a state such as "(off)"."""
    return re.sub(r" \((off|full|unlit|folded|sealed|empty)\)", "", name)


def craftable(objects: Objects, ids: Mapping[str, str]) -> Iterator[Record]:
    """Yield the recipes of the game that make a chosen item."""
    for record in objects["recipe"].values():
        if record.get("obsolete") or record.get("category") == "CC_BUILDING":
            continue
        if record.get("result") in ids and "abstract" not in record:
            yield record


def read_recipe(record: Record, objects: Objects) -> Recipe:
    """Return a recipe with the requirements it names and uses written out."""
    skills = {record.get("skill_used"), *_first_words(record.get("skills_required"))}
    skills |= {need["proficiency"] for need in record.get("proficiencies", [])}
    return Recipe(
        result=record["result"],
        components=frozenset(expand(record, "components", objects)),
        tools=frozenset(expand(record, "tools", objects)),
        qualities=frozenset(expand(record, "qualities", objects)),
        skills=frozenset(filter(None, skills)),
        books=frozenset(_first_words(record.get("book_learn"))),
    )


def _first_words(value: object) -> list[str]:
    """Return the ids in the game's several ways to write a list: bare, paired or keyed."""
    if isinstance(value, dict):
        return list(value)
    if isinstance(value, list) and value and isinstance(value[0], list):
        return [entry[0] for entry in value]
    return [value[0]] if isinstance(value, list) and value else []


def expand(record: Record, part: str, objects: Objects) -> Iterator[str]:
    """Yield every id in `part` of a recipe or requirement, and of the requirements behind it."""
    for entry in _entries(record.get(part, [])):
        if isinstance(entry, dict):
            yield entry["id"]
        elif entry[-1] == "LIST":
            yield from expand(objects["requirement"].get(entry[0], {}), part, objects)
        else:
            yield entry[0]
    for id in _first_words(_using(record)):
        yield from expand(objects["requirement"].get(id, {}), part, objects)


def _using(record: Record) -> object:
    """Return the requirements a record uses, as a list of pairs."""
    using = record.get("using", [])
    return [[using, 1]] if isinstance(using, str) else using


def _entries(slots: Iterable[Any]) -> Iterator[Any]:
    """Yield the alternatives of every slot: dictionaries, or lists that start with an id."""
    for slot in slots:
        if isinstance(slot, list) and slot and isinstance(slot[0], list | dict):
            yield from _entries(slot)
        else:
            yield [slot] if isinstance(slot, str) else slot


def gather(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Return the items of each key."""
    found: dict[str, set[str]] = defaultdict(set)
    for key, item in pairs:
        found[key].add(item)
    return found


def group_ingredients(recipes: Iterable[Recipe], objects: Objects) -> Groups:
    """Group what can be made from one ingredient."""
    found = gather((id, recipe.result) for recipe in recipes for id in recipe.components)
    named = {id: objects["item"].get(id, {}) for id in found}
    return {
        id: (f"both can be crafted from {plural_of(named[id])}", items)
        for id, items in found.items()
        if plural_of(named[id]) and not words.NAMES_LEFT_OUT.search(f"{id} {name_of(named[id])}")
    }


def group_tools(recipes: list[Recipe], objects: Objects) -> Groups:
    """Group what one tool makes: by what the tool must do, and by the tools named outright."""
    jobs = gather((id, recipe.result) for recipe in recipes for id in recipe.qualities)
    tools = gather((id, recipe.result) for recipe in recipes for id in recipe.tools)
    groups = {
        id: (f"both are made with a tool for {job_of(id, objects)}", items)
        for id, items in jobs.items()
    }
    for id, items in tools.items():
        record = objects["item"].get(id, {})
        unreal = "PSEUDO" in record.get("flags", []) or words.NAMES_LEFT_OUT.search(name_of(record))
        if name_of(record) and not unreal:
            groups[f"with_{id}"] = (f"both can be made with {article_and_name(record)}", items)
    return groups


def job_of(quality: str, objects: Objects) -> str:
    """Return what a tool quality is for, as it follows "for"."""
    return words.TOOL_JOBS.get(quality) or name_of(objects["tool_quality"].get(quality, {}))


def group_materials(objects: Objects, ids: Mapping[str, str]) -> Groups:
    """Group what is made of one material."""
    found = gather(
        (words.MATERIALS[material], id)
        for id in ids
        for material in as_list(objects["item"][id].get("material"))
        if material in words.MATERIALS
    )
    return {word: (f"both are made of {word}", items) for word, items in found.items()}


def group_skills(recipes: Iterable[Recipe], objects: Objects) -> Groups:
    """Group what takes one skill or one proficiency to make."""
    groups = {}
    for id, items in gather(
        (s, recipe.result) for recipe in recipes for s in recipe.skills
    ).items():
        if id in objects["skill"]:
            text = f"both are made with {name_of(objects['skill'][id])} skill"
        else:
            craft = name_of(objects["proficiency"].get(id, {})).lower()
            text = f"both are made by someone practised in {craft}"
        groups[id] = (text, items)
    return groups


def group_jobs(objects: Objects, ids: Mapping[str, str]) -> Groups:
    """Group what can do one job as a tool."""
    found = gather(
        (quality[0], id) for id in ids for quality in objects["item"][id].get("qualities", [])
    )
    return {
        id: (f"both can be used for {job_of(id, objects)}", items) for id, items in found.items()
    }


def group_worn(objects: Objects, ids: Mapping[str, str]) -> Groups:
    """Group what is worn on one part of the body, left or right."""
    found: list[tuple[str, str]] = []
    for id in ids:
        record = objects["item"][id]
        if words.HELD & set(record.get("flags", [])):
            continue
        covered = [*record.get("covers", [])]
        for portion in record.get("armor_portion_data", []):
            covered += portion.get("covers", [])
        found += [(part.split("_")[0].lower(), id) for part in covered]
    return {
        part: (f"both are worn on the {words.PARTS[part]}", items)
        for part, items in gather(found).items()
        if part in words.PARTS
    }


def group_supplies(objects: Objects, ids: Mapping[str, str]) -> Groups:
    """Group what uses up one supply, and what takes one kind of battery."""
    found = gather((supply, id) for id in ids for supply in supplies_of(objects["item"][id]))
    groups = {}
    for id, items in found.items():
        if id in objects["ammunition_type"]:
            name = words.SUPPLIES.get(id) or name_of(objects["ammunition_type"][id])
            groups[id] = (f"both use up {name}", items)
        elif id in objects["item"] and not words.NAMES_LEFT_OUT.search(f"{id} "):
            groups[id] = (f"both take {article_and_name(objects['item'][id])}", items)
    return {id: group for id, group in groups.items() if id not in words.SUPPLIES_LEFT_OUT}


def supplies_of(record: Record) -> Iterator[str]:
    """Yield what a tool is loaded with: kinds of supply, and single batteries or tanks."""
    if record["type"] == "MAGAZINE":
        return
    yield from as_list(record.get("ammo"))
    for pocket in record.get("pocket_data", []):
        if pocket.get("pocket_type") == "MAGAZINE":
            yield from pocket.get("ammo_restriction", {})
        if pocket.get("pocket_type") == "MAGAZINE_WELL":
            yield from pocket.get("item_restriction", [])


def group_books(recipes: Iterable[Recipe], objects: Objects) -> Groups:
    """Group what one book teaches to make."""
    found = gather((book, recipe.result) for recipe in recipes for book in recipe.books)
    named = {id: name_of(objects["item"].get(id, {})) for id in found}
    return {
        id: (f"both are taught in the book “{named[id]}”", items)
        for id, items in found.items()
        if named[id]
    }


def group_professions(objects: Objects) -> Groups:
    """Group what one profession carries or wears."""
    groups = {}
    for id, record in objects["profession"].items():
        if id not in words.JOBS_LEFT_OUT:
            items = set(members(record.get("items", {}), objects, deep=True))
            groups[id] = (f"both are carried by {job_title(id, record)}", items)
    return groups


def job_title(id: str, record: Record) -> str:
    """Return the name of a profession with its article, for a man and a woman if they differ."""
    if id in words.JOBS:
        return with_article(words.JOBS[id])
    name = record["name"]
    titles = [name["male"], name["female"]] if isinstance(name, dict) else [name]
    plain = [
        " ".join(word if word.isupper() else word.lower() for word in title.split())
        for title in dict.fromkeys(titles)
    ]
    return " or ".join(with_article(title) for title in plain)


def group_places(objects: Objects) -> Groups:
    """Group what is found in one place, by the places that `survival_places.txt` puts in words."""
    groups = {}
    for line in PLACES.read_text(encoding="utf-8").splitlines()[1:]:
        place, _, names = line.partition(": ")
        records = [objects["item_group"][name] for name in names.split()]
        items = {id for record in records for id in members(record, objects)}
        groups[names.split()[0]] = (f"both are found {place}", items)
    return groups


def members(entry: object, objects: Objects, *, deep: bool = False) -> Iterator[str]:
    """Yield the items in a group of items, and those of the groups it names if `deep`."""
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, list):
        paired = len(entry) == 2 and isinstance(entry[1], int)
        for part in entry[:1] if paired else entry:
            yield from members(part, objects, deep=deep)
    elif isinstance(entry, dict) and "item" in entry:
        yield from [entry["item"], *as_list(entry.get("container-item"))]
    elif isinstance(entry, dict):
        nested = ("items", "entries", "collection", "distribution", "both", "male", "female")
        for key in nested:
            yield from members(entry.get(key, []), objects, deep=deep)
        if deep and "group" in entry:
            yield from members(objects["item_group"].get(entry["group"], {}), objects, deep=deep)


def as_list(value: object) -> list[Any]:
    """Return a list of what may be missing, one value or several.

    >>> as_list(None), as_list("clay"), as_list(["clay", "tin"])
    ([], ['clay'], ['clay', 'tin'])
    """
    return [] if value is None else list(value) if isinstance(value, list) else [value]
