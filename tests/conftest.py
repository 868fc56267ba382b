"""A tiny catalogue, tiny encoders, and settings under which training takes a second."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from relatum import Config, Model, train
from relatum.catalogue import Catalogue
from relatum.conditioner import Conditioner

torch.set_num_threads(1)  # the models are tiny: threads would only wait for one another
os.environ["OMP_NUM_THREADS"] = "1"  # the same for programs that the tests start

COLOURS = ("red", "green", "blue", "black")
SHAPES = ("ball", "box", "bar")
WORDS = (
    "a the of same colour shape are have both is in larger smaller than little big small one "
    "kind like goes with and alike piece piled stacked each other item thing things some any"
).split()


def write_rows(folder: Path, name: str, rows: list[dict]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def draw(colour: str, shape: str, size: int) -> Image.Image:
    picture = Image.new("RGB", (48, 48), "white")
    box = (24 - size, 24 - size, 24 + size, 24 + (size if shape != "bar" else size // 3))
    pen = ImageDraw.Draw(picture)
    pen.ellipse(box, fill=colour) if shape == "ball" else pen.rectangle(box, fill=colour)
    return picture


def write_catalogue(folder: Path, copies: int = 4) -> Path:
    """Write coloured shapes; every ninth has only a text, every tenth only a picture."""
    (folder / "images").mkdir(parents=True)
    items: list[dict] = []
    for colour in COLOURS:
        for shape in SHAPES:
            for size in range(copies):
                number = len(items)
                name = f"i{number:03}"
                draw(colour, shape, 6 + 3 * size + number % 3).save(folder / f"images/{name}.png")
                letter = "abcdefgh"[size]
                items.append(
                    {
                        "id": name,
                        "text": None if number % 10 == 9 else f"{colour} {shape} {letter}",
                        "image": None
                        if number % 9 == 8 and number % 10 != 9
                        else f"images/{name}.png",
                        "colour": colour,
                        "size": size,
                    }
                )
    write_rows(folder, "items", items)
    relations = [
        {"id": "colour", "text": "are of the same colour", "paraphrases": ["have one colour"]},
        {"id": "shape", "text": "have the same shape"},
        {"id": "larger", "text": "is larger than", "directed": True, "inverse": "is smaller than"},
    ]
    write_rows(folder, "relations", relations)

    def ids(word: str) -> list[str]:
        parts = [(row["id"], (k // (copies * 3), k // copies % 3)) for k, row in enumerate(items)]
        return [i for i, (c, s) in parts if word in (COLOURS[c], SHAPES[s])]

    groups = [
        {"relation": "colour", "group": word, "items": ids(word), "text": f"both are {word}"}
        for word in COLOURS
    ] + [{"relation": "shape", "group": word, "items": ids(word)} for word in SHAPES]
    write_rows(folder, "groups", groups)
    links = [
        {"source": items[k + 1]["id"], "relation": "larger", "target": items[k]["id"]}
        for k in range(len(items) - 1)
        if items[k + 1]["size"] > items[k]["size"]
    ]
    write_rows(folder, "links", links)
    return folder


def damaged(data: bytes, rng: random.Random, *, bits: int = 3) -> bytes:
    """Flip some bits between the first four bytes and the last eight, which name a Parquet file."""
    broken = bytearray(data)
    for _ in range(bits):
        broken[rng.randrange(4, len(data) - 8)] ^= 1 << rng.randrange(8)
    return bytes(broken)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catalogue(tmp_path_factory.mktemp("data") / "shapes")


@pytest.fixture(scope="session")
def catalogue(folder: Path) -> Catalogue:
    return Catalogue.load(folder)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def _tokenizer() -> PreTrainedTokenizerFast:
    words = ["<pad>", "<unk>", "<s>", "</s>", *COLOURS, *SHAPES, *WORDS, *"abcdefgh"]
    words = list(dict.fromkeys(words))
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
    )


TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
TOWER |= {"num_attention_heads": 2}
TEXT = TOWER | {"vocab_size": 80, "max_position_embeddings": 16, "bos_token_id": 2}
TEXT |= {"eos_token_id": 3, "pad_token_id": 0}
VISION = TOWER | {"image_size": 48, "patch_size": 8}


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    config = CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24)
    CLIPModel(config).save_pretrained(folder)
    size = {"height": 48, "width": 48}
    CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size=size).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("siglip")
    torch.manual_seed(0)
    config = SiglipConfig(text_config=TEXT | {"projection_size": 32}, vision_config=VISION)
    SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 48, "width": 48}).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


Settings = Callable[..., Config]


def train_hinted(catalogue: Catalogue, config: Config, folder: Path, cache: Path) -> Model:
    """Train a model whose few groups' texts tell of new ones, which takes more as a rule."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("relatum.traits.FEW", 2)
        model = train(catalogue, config, folder, cache=cache)
    assert isinstance(model.conditioner, Conditioner) and model.conditioner.traits.is_fitted
    return model


def as_changes(config: Config) -> dict[str, object]:
    """Return settings as a study takes them: by full name, without the seeds, which it draws."""
    values = config.model_dump()
    tables = {name: table for name, table in values.items() if isinstance(table, dict)}
    changes = {f"{a}.{b}": v for a, some in tables.items() for b, v in some.items() if b != "seed"}
    return changes | {"encoder": values["encoder"]}


@pytest.fixture(scope="session")
def settings(tiny_clip: Path) -> Settings:
    """Make small settings; keyword arguments `training_steps=3` stand for `training.steps=3`."""

    def make(**changes: object) -> Config:
        values: dict[str, object] = {
            "encoder": str(tiny_clip),
            "tokens.hidden": 16,
            "model.dim": 48,
            "training.steps": 10,
            "training.pools": 3,
            "training.pool_size": 12,
            "training.validate_every": 5,
        }
        values |= {name.replace("__", "."): value for name, value in changes.items()}
        return Config.load(sets=[f"{name}={json.dumps(value)}" for name, value in values.items()])

    return make
