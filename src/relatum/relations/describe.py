"""Descriptions written by a language model behind an OpenAI-compatible endpoint.

In: a relation or a group, its words and some of its texts.
Out: a text and paraphrases; nothing once the budget is spent. Answers are kept on disk.
This file does not know how relations are found. The key is read from the environment only.
"""

import hashlib
import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relatum.disk import write_file
from relatum.errors import RelatumError

KEY = "RELATUM_LLM_KEY"  # the environment variable that holds the key
TRIES = 5
SAMPLES = 8  # texts shown for a group
LETTERS = 160  # of each text
PARAPHRASES = 3
log = logging.getLogger(__name__)

PROMPT = """Items of a catalogue were grouped because they {why}.
Words that tell this group from others: {words}.
Some of the items:
{samples}

Describe what relates any two of these items, as a predicate in plain words that begins with a verb
and has at most 12 words, for example "are used together for infant feeding". Do not name brands.
Answer with JSON only: {{"text": "...", "paraphrases": [{paraphrases} other ways to say it]}}"""


REPHRASE = """A relation between two items of a catalogue is described as "{text}".
Answer with JSON only: {{"text": "{text}", "paraphrases": [{paraphrases} other ways to say it, each
a predicate that begins with a verb and has at most 12 words]}}"""


@dataclass(frozen=True)
class Description:
    """A text and other ways to say it."""

    text: str
    paraphrases: tuple[str, ...]


def describe(why: str, words: str, texts: Sequence[str]) -> str:
    """Ask for a description of a group."""
    samples = "\n".join(f"- {' '.join(text.split())[:LETTERS]}" for text in texts[:SAMPLES])
    return PROMPT.format(why=why, words=words or "none", samples=samples, paraphrases=PARAPHRASES)


def rephrase(text: str) -> str:
    """Ask for other ways to describe a relation."""
    return REPHRASE.format(text=text, paraphrases=PARAPHRASES)


@dataclass
class Writer:
    """Asks an endpoint, within a budget; with `dry` the prompts are only listed."""

    url: str
    model: str
    cache: Path
    calls: int = 200  # at most
    tokens: int = 200_000  # at most, of prompts and answers
    dry: bool = False
    wait: Callable[[float], None] = time.sleep
    made: int = 0
    spent: int = 0
    refused: int = 0  # prompts that the budget left without an answer
    prompts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse an address that is not of the web."""
        if not self.url.startswith(("http://", "https://")):
            fix = "give it like http://127.0.0.1:8080/v1"
            raise RelatumError(f"expected an http address, got {self.url!r}", fix=fix)

    def write(self, text: str) -> Description | None:
        """Answer a prompt from the cache or the endpoint; None in a dry run or over budget."""
        self.prompts.append(text)
        path = self.cache / f"{self._name(text)}.json"
        if path.exists():
            return _parse(path.read_text(encoding="utf-8"))
        if self.dry:
            return None
        if self.made >= self.calls or self.spent + len(text) // 3 > self.tokens:
            self.refused += 1
            return None
        answer = self._ask(text)
        found = _parse(answer)
        if found is None:
            log.warning("not the JSON that was asked for, so it is not used: %r", answer[:80])
            return None
        write_file(path, answer.encode())
        return found

    def _name(self, text: str) -> str:
        return hashlib.blake2b(f"{self.model}\0{text}".encode(), digest_size=16).hexdigest()

    def _ask(self, text: str) -> str:
        """Post the prompt; wait and try again where the endpoint is busy or out of reach."""
        reason = "the budget of calls is spent"
        for attempt in range(min(TRIES, self.calls - self.made)):
            if attempt:
                self.wait(2.0 ** (attempt - 1))
            self.made += 1
            try:
                return self._content(self._post(text), text)
            except urllib.error.HTTPError as error:
                reason = f"it answered {error.code}"
                error.close()
                if error.code != 429 and error.code < 500:
                    break
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                reason = str(getattr(error, "reason", error))
        raise self._error(reason)

    def _post(self, text: str) -> bytes:
        body = {"model": self.model, "messages": [{"role": "user", "content": text}]}
        headers = {"Content-Type": "application/json"}
        if os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {os.environ[KEY]}"
        url = self.url.rstrip("/") + "/chat/completions"
        data = json.dumps({**body, "temperature": 0}).encode()
        request = urllib.request.Request(url, data, headers)
        with urllib.request.build_opener(_Stay).open(request, timeout=60) as response:
            return response.read()

    def _content(self, answer: bytes, text: str) -> str:
        try:
            values = json.loads(answer)
            content = str(values["choices"][0]["message"]["content"])
            used = (values.get("usage") or {}).get("total_tokens")
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise self._error("its answer has another form than expected") from error
        self.spent += used if isinstance(used, int) else (len(text) + len(content)) // 3
        return content

    def _error(self, reason: str) -> RelatumError:
        fix = f"check --llm-url and ${KEY}; answers so far are kept, so the command may be repeated"
        what = f"the language model cannot be asked: {reason}"
        return RelatumError(what, where=self.url, fix=fix)


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key goes to nobody but the endpoint named."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: object,
        code: int,
        msg: str,
        headers: object,
        newurl: str,
    ) -> None:
        """Return no new request, so that the answer is an error."""
        del req, fp, code, msg, headers, newurl


def _parse(answer: str) -> Description | None:
    """Read the JSON of an answer, within a code fence or not.

    >>> _parse('{"text": "are red", "paraphrases": ["share red"]}')
    Description(text='are red', paraphrases=('share red',))
    """
    start, end = answer.find("{"), answer.rfind("}")
    try:
        values = json.loads(answer[start : end + 1])
        text, ways = values["text"], values.get("paraphrases", [])
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(text, str) or not text.strip() or not isinstance(ways, list):
        return None
    clean = [" ".join(way.split()) for way in ways if isinstance(way, str) and way.strip()]
    return Description(" ".join(text.split()).rstrip("."), tuple(clean[: 2 * PARAPHRASES]))
