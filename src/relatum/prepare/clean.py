"""Texts, numbers and lists as people write them, made plain.

In: a raw value of a source, and a list of notes.
Out: the plain value; what had to be left out of it is said in the notes.
This file does not know which source a value is from.
"""

import html
import json
import math
import re

from relatum.errors import DataError

TEXT_LIMIT = 10_000  # characters; text encoders read the first few hundred words
RAW_LIMIT = 6 * TEXT_LIMIT  # characters, markup included, that are looked at
ID_LIMIT = 1_000  # characters
INLINE = set("a abbr b bdi bdo code em font i mark q s small span strong sub sup u wbr".split())
MARKUP = re.compile(  # each part ends at the next bracket or at the end: the time stays linear
    r"<!--(?:.*?-->|.*)|<(script|style|template|noscript)\b[^<>]*>(?:.*?</\1\s*>|.*)"
    r"|</?([a-z][a-z0-9]*)\b[^<>]*>|<[!?][^<>]*>",
    re.IGNORECASE | re.DOTALL,
)
NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
PRICE = re.compile(
    r"(?:from\s)?\s*[A-Z]{0,3}\s?[^\w\s.,-]?\s?(\d[\d.,' \u00a0]{0,20})"
    r"\s?[^\w\s.,-]?\s?[A-Z]{0,3}\.?"
    r"(?:\s*[-\u2013].{1,20})?",
    re.IGNORECASE,
)


class Unusable(DataError):
    """A row or a picture that is left out: what is wrong with it, and what to do."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what, fix=fix)


def plain_text(value: object, name: str, notes: list[str]) -> str | None:
    """Return a text without markup, or None where there is none; a list is joined.

    >>> plain_text("<p>Caf&eacute;<br>au  lait</p>", "text", [])
    'Café au lait'
    >>> plain_text(["soft", None, "warm"], "text", []), plain_text("  ", "text", [])
    ('soft warm', None)
    """
    if isinstance(value, list | tuple):
        value = " ".join(one for one in value if isinstance(one, str))
    if isinstance(value, bool | int | float):
        value = json.dumps(value)
    if not isinstance(value, str):
        if value is not None:
            notes.append(f"{name}: expected a text, got {type(value).__name__}; it is left out")
        return None
    if len(value) > RAW_LIMIT:
        notes.append(f"{name}: {len(value):,} characters, only the first {TEXT_LIMIT:,} are kept")
    text = " ".join(_without_markup(value[:RAW_LIMIT]).split())
    if NOT_TEXT.search(text):
        notes.append(f"{name}: control characters or half a surrogate pair are left out")
        text = " ".join(NOT_TEXT.sub("", text).split())
    if TEXT_LIMIT < len(text) and len(value) <= RAW_LIMIT:
        notes.append(f"{name}: {len(text):,} characters, only the first {TEXT_LIMIT:,} are kept")
    return text[:TEXT_LIMIT].rstrip() or None


def _without_markup(text: str) -> str:
    if "<" in text:
        text = MARKUP.sub(lambda tag: "" if (tag[2] or "").lower() in INLINE else " ", text)
    return html.unescape(text) if "&" in text else text


def sentences(*parts: str | None) -> str | None:
    """Join texts so that each ends like a sentence; a part that repeats an earlier one is dropped.

    >>> sentences("Red lamp", None, "Bright.", "Red lamp")
    'Red lamp. Bright.'
    """
    said = [part for part in dict.fromkeys(parts) if part]
    ends = (".", "!", "?", "。", "！", "？", ":", ";")
    closed = [part if part.endswith(ends) else f"{part}." for part in said[:-1]]
    return " ".join([*closed, *said[-1:]]) or None


def identifier(value: object, name: str = "id") -> str:
    """Return an id as text; `Unusable` for what cannot be one.

    >>> identifier(12.0), identifier(" B00 ")
    ('12', 'B00')
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # how tables with gaps write whole numbers
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**30:
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise Unusable(f"expected {_a(name)}, got {_short(value)}", "give the row a unique id")
    value = value.strip()
    if NOT_TEXT.search(value) or any(letter.isspace() and letter != " " for letter in value):
        what = f"{name} {_short(value)} holds control characters or half a surrogate pair"
        raise Unusable(what, "remove them")
    if len(value) > ID_LIMIT:
        raise Unusable(f"{_a(name)} of {len(value):,} characters, expected at most 1,000", "cut it")
    return value


def price(value: object, notes: list[str]) -> float | None:
    """Return a price as a number, of a range the lower end; None and a note where there is none.

    >>> [price(text, []) for text in ("$1,299.00", "5,50 EUR", "1.299,00 €", "$5.99 - $12.99")]
    [1299.0, 5.5, 1299.0, 5.99]
    """
    if value in (None, "", "None", "nan"):
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 <= value < 1e12:
            return float(value)
        if isinstance(value, float) and math.isnan(value):
            return None
    found = PRICE.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 60 else None
    number = _number(found.group(1)) if found else None
    if number is None:
        notes.append(f"price: expected a number, got {_short(value)}; it is left out")
    return number


def _number(digits: str) -> float | None:
    digits = re.sub(r"[' \u00a0]", "", digits).rstrip(".,")
    comma, dot = digits.rfind(","), digits.rfind(".")
    decimal = max(comma, dot)
    if comma < 0 or dot < 0:  # one kind of mark: a decimal point, unless it parts thousands
        mark = digits[decimal] if decimal >= 0 else "."
        if digits.count(mark) > 1 or (mark == "," and len(digits) - decimal == 4):
            decimal = -1
    whole = re.sub(r"\D", "", digits[:decimal] if decimal >= 0 else digits)
    try:
        return float(f"{whole}.{digits[decimal + 1 :]}" if decimal >= 0 else whole)
    except ValueError:
        return None


def names(value: object, separator: str = "|") -> list[str]:
    """Return a list of plain texts, each once: from a list, a JSON list, or parted text.

    >>> names("a, b,a", ","), names(["x", None, 3]), names('["p", "q"]'), names(None)
    (['a', 'b'], ['x', '3'], ['p', 'q'], [])
    """
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            pass  # a text that begins with a bracket
    if isinstance(value, str):
        value = value.split(separator)
    if not isinstance(value, list | tuple):
        return []
    plain = (plain_text(one, "", []) for one in value if isinstance(one, str | int))
    return list(dict.fromkeys(one for one in plain if one))


def _short(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 200:
        return "a huge number"
    shown = repr(value)
    return shown if len(shown) <= 43 else f"{shown[:40]}…"


def _a(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
