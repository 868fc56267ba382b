"""Find an encoder: an object, or by name starter, a folder, a hub id, tables, or two of these.

In: the settings, perhaps a user's own object.
Out: an `Encoder`, or one line that says what is wrong with the name or the files.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from transformers.utils import logging

from relatum.config import Config
from relatum.distributed import find_device
from relatum.encoders.dual import Dual
from relatum.encoders.encoder import Encoder
from relatum.encoders.joined import Joined
from relatum.encoders.open_clip import CONFIG, load_open_clip
from relatum.encoders.own import OWN, Own
from relatum.encoders.sentences import Sentences
from relatum.encoders.starter import Starter
from relatum.errors import EncoderError

BEFORE = "precomputed:"
KINDS = (CONFIG, "modules.json", "config.json")  # open_clip, sentence-transformers, transformers
WANTED = ["*.json", "*.txt", "*.model", "*.safetensors"]
BROKEN = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)
SECONDS = 5  # that the hub has for an answer


def find_encoder(config: Config, given: Any = None) -> Encoder:  # noqa: ANN401
    """Load what the settings name to where they say, or take an object: a copy where it is tuned.

    An object stays where it is.
    """
    if given is None:
        return load_encoder(config.encoder, find_device(config.training.device))
    given = given if config.tuning.is_frozen else copy.deepcopy(given)
    return given if isinstance(given, Encoder) else Own(given)


def load_encoder(name: str, device: torch.device | None = None) -> Encoder:
    """Load what `encoder` names; two names with ` + ` between are pictures' and texts' encoders.

    Without a device, on this process's graphics card where there is one.
    """
    device = device or find_device("auto")
    first, plus, second = (part.strip() for part in name.partition(" + "))
    if first == OWN:
        what = "the model was trained with an encoder of your own"
        raise EncoderError(what, fix="give it: Model.load(folder, encoder=...)")
    if first.startswith(BEFORE):
        if not plus:
            what = f"encoder {name!r} has no encoder for relation texts"
            raise EncoderError(what, fix=f"write '{name} + starter', or another text encoder")
        rest = _load_one(second, device)
        return Joined(rest, rest, Path(first.removeprefix(BEFORE)))
    one = _load_one(first, device)
    return Joined(one, _load_one(second, device)) if plus else one


def _load_one(name: str, device: torch.device) -> Encoder:
    if name == "starter":
        return Starter().to(device)
    try:
        folder = _folder(name)
        _check_files(folder)
        with _quiet():
            return _load_folder(folder).to(device)
    except (EncoderError, *BROKEN) as error:
        fix = "" if isinstance(error, EncoderError) else "; bring a whole checkpoint"
        reason = " ".join(str(error).split())[:300]
        if "mismatch" in reason:  # transformers and torch list every weight
            reason = "the weights do not fit the sizes that its config names"
        raise EncoderError(f"encoder {name!r} cannot be loaded: {reason}{fix}") from error


def _load_folder(folder: Path) -> Dual | Sentences:
    if (folder / CONFIG).is_file():
        return load_open_clip(folder)
    return Sentences(folder) if (folder / "modules.json").is_file() else Dual.load(folder)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from reporting on each weight: what is wrong is said in one line."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _folder(name: str) -> Path:
    """Return a folder as it is, or that of a hub id, downloaded unless it was before."""
    if Path(name).is_dir():
        return Path(name)
    if name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise EncoderError("there is no such folder", fix="correct the path, or name 'starter'")
    try:
        return Path(snapshot_download(name, allow_patterns=WANTED, etag_timeout=SECONDS))
    except (OSError, HfHubHTTPError) as error:
        what = f"no folder of this name, and from the hub: {str(error).partition(chr(10))[0]}"
        raise EncoderError(what, fix="name a folder, or try again with the network") from error


def _check_files(folder: Path) -> None:
    """Refuse a folder that is no encoder, weights that only a pickle holds, and no tokenizer."""
    if not any((folder / name).is_file() for name in KINDS):
        what = f"expected a folder with {', '.join(KINDS[:-1])} or {KINDS[-1]}"
        raise EncoderError(what, fix="name such a folder, starter, or a hub id")
    for path in folder.rglob("*"):
        pickled = path.suffix in (".bin", ".pt", ".pth", ".ckpt")
        if pickled and not any(path.parent.glob("*.safetensors")):
            what = f"the weights {path.name} are a pickle, which could run code when it is read"
            raise EncoderError(what, fix="convert them to safetensors")
    words = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")
    if not any(path.name in words for path in folder.rglob("*")):
        what = "it has no tokenizer (tokenizer.json, vocab.json or vocab.txt)"
        raise EncoderError(what, fix="copy the tokenizer's files into the folder")
