"""Encoders from elsewhere: read from disk, joined, computed before, given as objects, tuned."""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertConfig, BertModel

from conftest import TOWER, Settings, _tokenizer
from relatum import Catalogue, Config, Item, Model, train
from relatum.checkpoint import newest_snapshot
from relatum.encoders import Dual, Encoder, Raw, Starter, load_encoder
from relatum.encoders.encoder import SIDES
from relatum.encoders.sentences import Sentences
from relatum.encoders.tuning import begin_tuning, tuned_groups, tuned_tensors
from relatum.errors import ConfigError, DataError, EncoderError, RelatumError
from relatum.items import read_image
from relatum.progress import silent
from relatum.train.run import prepare
from relatum.train.step import take_step

WIDE, WORDS, DIM = 32, 80, 24
PAIRS = [(0, 1), (0, 2), (1, 1), (1, 2)]


@pytest.fixture(scope="session")
def tiny_open_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write what open_clip would: the names and shapes of its CLIP."""
    folder = tmp_path_factory.mktemp("open_clip")
    tower = {"layers": 2, "width": WIDE}
    vision = tower | {"head_width": 16, "patch_size": 8, "image_size": 48}
    text = tower | {"heads": 2, "context_length": 16, "vocab_size": WORDS}
    facts = {"embed_dim": DIM, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    facts = {"model_cfg": facts, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(facts))
    shapes = {
        "visual.conv1.weight": (WIDE, 3, 8, 8),
        "visual.class_embedding": (WIDE,),
        "visual.positional_embedding": (37, WIDE),
        "visual.proj": (WIDE, DIM),
        "token_embedding.weight": (WORDS, WIDE),
        "positional_embedding": (16, WIDE),
        "text_projection": (WIDE, DIM),
        "logit_scale": (),
    }
    block = {"attn.in_proj_": 3 * WIDE, "attn.out_proj.": WIDE, "mlp.c_fc.": 4 * WIDE}
    for start in ("visual.transformer", "transformer"):
        for layer in range(2):
            name = f"{start}.resblocks.{layer}"
            for part, rows in block.items():
                shapes |= {f"{name}.{part}weight": (rows, WIDE), f"{name}.{part}bias": (rows,)}
            shapes |= {f"{name}.mlp.c_proj.weight": (WIDE, 4 * WIDE)}
            shapes |= {f"{name}.mlp.c_proj.bias": (WIDE,)}
    torch.manual_seed(0)
    state = {name: torch.randn(shape) * 0.15 for name, shape in shapes.items()}
    norms = ["visual.ln_pre", "visual.ln_post", "ln_final"]
    norms += [f"{a}transformer.resblocks.{b}.ln_{c}" for a in ("visual.", "") for b, c in PAIRS]
    for name in norms:
        state |= {f"{name}.weight": torch.ones(WIDE), f"{name}.bias": torch.zeros(WIDE)}
    save_file(state, folder / "open_clip_model.safetensors")
    _tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sentences")
    torch.manual_seed(0)
    config = BertConfig.from_dict(TOWER | {"vocab_size": WORDS, "max_position_embeddings": 16})
    BertModel(config).save_pretrained(folder / "bert")
    tokenizer = _tokenizer()
    tokenizer.model_max_length = 16
    tokenizer.save_pretrained(folder / "bert")
    words = Transformer(str(folder / "bert"))
    whole = SentenceTransformer(modules=[words, Pooling(WIDE, "mean"), Normalize()], device="cpu")
    whole.save(str(folder / "whole"))
    return folder / "whole"


FOLDERS = ["tiny_clip", "tiny_siglip", "tiny_open_clip", "tiny_sentences"]


RECIPE = {
    "training__learning_rate": 2e-2,
    "training__encoder_rate": 1e-4,
    "training__validate_every": 10,
    "training__pools": 2,
    "training__pool_size": 48,
    "training__hard_share": 0.0,
    "training__group_share": 0.0,
    "training__null_share": 0.0,
    "model__dropout": 0.0,
}


def margin(model: Model, items: Sequence[Item]) -> float:
    """Return how far the cosine of items of one colour is above that of others."""
    items = [item for item in items if item.text]
    scores = model.embed(items, "are of the same colour") @ model.embed(items).T
    colours = np.array([str(item.metadata["colour"]) for item in items])
    same, own = colours[:, None] == colours, np.eye(len(items), dtype=bool)
    return float(scores[same & ~own].mean() - scores[~same].mean())


@pytest.mark.parametrize("tuning", ["frozen", "lora", "full"])
@pytest.mark.parametrize("name", FOLDERS)
def test_ten_steps_raise_positives_and_save_and_load_give_equal_vectors(
    name: str,
    tuning: str,
    catalogue: Catalogue,
    settings: Settings,
    cache: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """One relation, one recipe, one seed and one bar for all.

    The least rise is .15. SigLIP's random towers tell colours apart least: seed 1 gives it .06.
    """
    colours = replace(
        catalogue,
        relations=catalogue.relations[:1],
        groups=tuple(group for group in catalogue.groups if group.relation == "colour"),
        links=(),
    )
    config = settings(
        encoder=str(request.getfixturevalue(name)), tuning=tuning, training__seed=0, **RECIPE
    )
    run = prepare(colours, config, cache, silent)
    before = margin(run.model, run.items)
    model = train(colours, config, tmp_path, cache=cache)
    assert margin(model, run.items) > before + 0.1
    loaded = Model.load(tmp_path)
    relation = "are of the same colour"
    assert (model.embed(catalogue.items, relation) == loaded.embed(catalogue.items, relation)).all()
    kept = {path.name for path in tmp_path.glob("*.safetensors")} - {"reduction.safetensors"}
    wanted = {"lora": {"adapter.safetensors"}, "full": {"encoder.safetensors"}}.get(tuning, set())
    assert kept == {"weights.safetensors"} | wanted
    if tuning == "lora":
        assert all(".lora_" in key for key in load_file(tmp_path / "adapter.safetensors"))


def test_a_step_gives_a_tuned_encoder_another_name(
    catalogue: Catalogue, settings: Settings, cache: Path
) -> None:
    """So that its tokens are never taken for those of the encoder it was: fingerprints are kept."""
    run = prepare(catalogue, settings(tuning="full"), cache, silent)
    before = run.model.encoder.fingerprint()
    take_step(run)
    assert run.model.encoder.fingerprint() != before


def test_an_open_clip_folder_gives_grids_words_and_vectors(tiny_open_clip: Path) -> None:
    encoder = load_encoder(str(tiny_open_clip))
    assert isinstance(encoder, Dual)
    image = encoder.encode_images([Image.new("RGB", (50, 40), "red")] * 2)
    assert image.tokens.shape == (2, 36, WIDE) and image.pooled.shape == (2, DIM)
    text = encoder.encode_texts(["red ball", "a big blue box"])
    assert text.mask.sum(1).tolist() == [2, 4] and text.pooled.shape == (2, DIM)


def test_a_sentence_vector_is_that_of_sentence_transformers(tiny_sentences: Path) -> None:
    texts = ["red ball", "a big blue box"]
    raw = load_encoder(str(tiny_sentences)).encode_texts(texts)
    wanted = SentenceTransformer(str(tiny_sentences), device="cpu").encode(texts)
    assert np.allclose(raw.pooled.detach().cpu().numpy(), wanted, atol=1e-6)
    assert raw.mask.sum(1).tolist() == [2, 4]


def test_an_image_text_model_of_sentence_transformers_gives_both(
    tiny_clip: Path, tmp_path: Path
) -> None:
    SentenceTransformer(modules=[Transformer(str(tiny_clip))], device="cpu").save(str(tmp_path))
    both, dual = load_encoder(str(tmp_path)), load_encoder(str(tiny_clip))
    assert isinstance(both, Sentences) and both.has_images
    picture = [Image.new("RGB", (48, 48), "red")]
    with torch.no_grad():
        for side, values in (("images", picture), ("texts", ["red ball"])):
            one, other = (getattr(e, f"encode_{side}")(values).pooled for e in (both, dual))
            assert torch.allclose(one, other, atol=1e-5)


def test_ignored_pictures_are_told_once_and_refused_where_nothing_else_is(
    tiny_sentences: Path, catalogue: Catalogue, settings: Settings, cache: Path
) -> None:
    told: list[str] = []

    def report(stage: str, done: int, total: int, note: str = "") -> None:
        told.append(f"{stage}: {note}")

    config = settings(encoder=str(tiny_sentences), training__steps=1)
    train(catalogue, config, cache=cache, report=report)
    assert told.count("pictures ignored: the encoder takes texts only") == 1
    silent = [replace(i, text=None) for i in catalogue.items if i.image]
    with pytest.raises(EncoderError, match="no training item has one"):
        train(replace_items(catalogue, silent), config, cache=cache)


def replace_items(catalogue: Catalogue, items: list[Item]) -> Catalogue:
    names = {item.id for item in items}
    links = [link for link in catalogue.links if {link.source, link.target} <= names]
    groups = [
        replace(group, items=tuple(id for id in group.items if id in names))
        for group in catalogue.groups
    ]
    return replace(catalogue, items=tuple(items), groups=tuple(groups), links=tuple(links))


def test_a_pair_takes_pictures_from_one_and_texts_from_the_other(
    tiny_clip: Path, tiny_sentences: Path, catalogue: Catalogue, settings: Settings, cache: Path
) -> None:
    name = f"{tiny_clip} + {tiny_sentences}"
    pair = load_encoder(name)
    with torch.no_grad():
        assert pair.encode_images([Image.new("RGB", (9, 9))]).pooled.shape == (1, DIM)
        assert pair.encode_texts(["red"]).pooled.shape == (1, WIDE)
    config = settings(encoder=name, tuning__image="lora", training__steps=2)
    assert train(catalogue, config, cache=cache).embed(catalogue.items[:3]).shape == (3, 48)


def write_tables(folder: Path, catalogue: Catalogue, encoder: Encoder, kind: str) -> Path:
    """Write all pictures' vectors, or all texts' tokens, and a query's picture without."""
    folder.mkdir()
    names = [item.id for item in catalogue.items]
    random = np.random.default_rng(0)
    if kind == "npy":
        vectors = random.normal(size=(len(names), 12)).astype("float32")
        np.save(folder / "images.npy", vectors)
        (folder / "ids.txt").write_text("\n".join(names))
        return folder
    with torch.no_grad():
        raw = encoder.encode_texts([item.text or "thing" for item in catalogue.items])
    rows = [t[m].tolist() for t, m in zip(raw.tokens, raw.mask, strict=True)]
    column = rows if kind == "tokens" else raw.pooled.tolist()
    pq.write_table(pa.table({"id": names, kind: column}), folder / "texts.parquet")
    return folder


@pytest.mark.parametrize("kind", ["npy", "vector", "tokens"])
def test_precomputed_vectors_are_found_by_id(
    kind: str,
    tiny_clip: Path,
    catalogue: Catalogue,
    settings: Settings,
    tmp_path: Path,
    cache: Path,
) -> None:
    folder = write_tables(tmp_path / "t", catalogue, load_encoder(str(tiny_clip)), kind)
    config = settings(encoder=f"precomputed:{folder} + {tiny_clip}", training__steps=2)
    model = train(catalogue, config, tmp_path / "model", cache=cache)
    loaded = Model.load(tmp_path / "model")
    assert (model.embed(catalogue.items, "x") == loaded.embed(catalogue.items, "x")).all()
    side = "image" if kind == "npy" else "text"
    assert getattr(model.encode(catalogue.items, cache=cache), side).present.all()
    item = catalogue.items[0]
    with pytest.raises(DataError, match="nothing for item 'new'"):
        model.embed([replace(item, id="new")])
    tuned = settings(encoder=config.encoder, **{f"tuning__{side}": "full"})
    with pytest.raises(ConfigError, match=f"no {side} tower of its own"):
        train(catalogue, tuned, cache=cache)


def test_tables_that_do_not_fit_are_one_line(tiny_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="has no encoder for relation texts"):
        load_encoder(f"precomputed:{tmp_path}")
    name = f"precomputed:{tmp_path} + {tiny_clip}"
    with pytest.raises(EncoderError, match="expected images.parquet"):
        load_encoder(name)
    for rows, said in (([[1.0, 2.0]], "texts of the widths"), ([[1.0], [1.0]], "1 different")):
        table = {"id": ["a"] * len(rows), "vector": rows}
        pq.write_table(pa.table(table), tmp_path / "texts.parquet")
        with pytest.raises(EncoderError, match=said):
            load_encoder(name)


class Colours:
    """A user's own encoder, of two methods; it counts what it is asked."""

    def __init__(self) -> None:
        self.images = self.texts = 0

    def encode_images(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        self.images += len(pictures)
        return np.stack([np.asarray(p.resize((2, 2))).ravel() / 255 for p in pictures])

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        self.texts += len(texts)
        letters = [[text.count(letter) for letter in "abcdefghijklmnoprstu"] for text in texts]
        return torch.tensor(letters, dtype=torch.float32)


def test_an_own_encoder_needs_two_methods_and_sees_each_item_once(
    catalogue: Catalogue, settings: Settings, tmp_path: Path
) -> None:
    own = Colours()
    model = train(catalogue, settings(), tmp_path / "m", cache=tmp_path / "c", encoder=own)
    assert model.split is not None
    read = {*model.split.train, *model.split.validation}
    pictures = [item for item in catalogue.items if item.image and item.id in read]
    assert own.images <= len(pictures) + 2  # a blank one, and one for the fingerprint
    loaded = Model.load(tmp_path / "m", encoder=Colours())
    assert (model.embed(catalogue.items, "x") == loaded.embed(catalogue.items, "x")).all()
    with pytest.raises(EncoderError, match=r"Model.load\(folder, encoder="):
        Model.load(tmp_path / "m")
    with pytest.raises(EncoderError, match="has no method encode_images"):
        train(catalogue, settings(), encoder=object())


def test_frozen_training_runs_no_tower_twice_for_an_item(
    tiny_clip: Path, catalogue: Catalogue, settings: Settings, tmp_path: Path
) -> None:
    seen: Counter[str | bytes] = Counter()

    class Counting(Dual):
        def encode_images(self, pictures: Sequence[Image.Image | np.ndarray]) -> Raw:
            seen.update(np.asarray(picture).tobytes() for picture in pictures)
            return super().encode_images(pictures)

        def encode_texts(self, texts: Sequence[str]) -> Raw:
            seen.update(texts)
            return super().encode_texts(texts)

    encoder = Counting.load(tiny_clip)
    for seed in (0, 1):  # the second reads what the first has kept
        config = settings(training__seed=seed, training__steps=10, training__validate_every=5)
        model = train(catalogue, config, cache=tmp_path, encoder=encoder)
    assert model.split is not None
    read = {*model.split.train, *model.split.validation}
    for item in (item for item in catalogue.items if item.id in read):
        assert item.text is None or seen[item.text] == 1
        assert item.image is None or seen[encoder.fit(read_image(item)).tobytes()] == 1


def test_a_frozen_tower_is_not_run_while_the_other_is_tuned(
    tiny_clip: Path, catalogue: Catalogue, settings: Settings, tmp_path: Path
) -> None:
    counts = {"images": 0, "texts": 0}

    class Counting(Dual):
        def encode_images(self, pictures: Sequence[Image.Image | np.ndarray]) -> Raw:
            counts["images"] += len(pictures)
            return super().encode_images(pictures)

        def encode_texts(self, texts: Sequence[str]) -> Raw:
            counts["texts"] += len(texts)
            return super().encode_texts(texts)

    config = settings(tuning__text="lora", training__steps=5)
    train(catalogue, config, cache=tmp_path, encoder=Counting.load(tiny_clip))
    assert counts["images"] <= sum(item.image is not None for item in catalogue.items) + 1
    assert counts["texts"] > 5 * 3 * 10


def stop_at(limit: int):  # noqa: ANN201
    def report(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "train" and done == limit:
            raise KeyboardInterrupt

    return report


def test_adapters_resume_exactly(
    catalogue: Catalogue, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    small = {"training__validate_every": 2, "training__steps": 4, "training__pools": 2}
    config = settings(tuning="lora", training__encoder_rate=1e-3, **small)
    whole = train(catalogue, config, cache=cache)
    with pytest.raises(KeyboardInterrupt):
        train(catalogue, config, tmp_path, cache=cache, report=stop_at(3))
    found = newest_snapshot(tmp_path / "snapshots")
    assert found is not None and found[1]["step"] == 2
    names = [name for name in found[0] if name.startswith("encoder/")]
    assert names and all(".lora_" in name for name in names)
    resumed = train(catalogue, config, tmp_path, resume=True, cache=cache)
    assert whole.fingerprint == resumed.fingerprint


def test_adapters_are_at_most_two_percent_of_a_real_tower() -> None:
    encoder, config = Starter(), Config.load(sets=["tuning.text=lora"])
    whole = sum(weight.numel() for weight in encoder.text_tower.parameters())
    begin_tuning(encoder, config)
    groups = tuned_groups(encoder, config)
    trained = sum(weight.numel() for group in groups for weight in group["params"])
    assert trained == 6 * 8 * (4 * (384 + 384) + 2 * (384 + 1536)) <= 0.02 * whole
    with pytest.raises(ConfigError, match="tuning.image=frozen or tuning.image=full"):
        begin_tuning(encoder, Config.load(sets=["tuning.image=lora"]))


@pytest.mark.parametrize("encoder", ["starter", "tiny_clip"])
def test_a_tuning_that_cannot_be_is_refused_before_anything_is_encoded(
    encoder: str,
    catalogue: Catalogue,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    said = "tuning.image=lora, but the image tower has no blocks with linear maps; set"
    if encoder == "tiny_clip":
        monkeypatch.setitem(sys.modules, "peft", None)
        encoder, said = str(request.getfixturevalue(encoder)), "needs peft; pip install"
    with pytest.raises(RelatumError, match=said) as caught:
        train(catalogue, settings(encoder=encoder, tuning="lora"), cache=tmp_path)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_blocks_nearer_the_input_have_smaller_rates(tiny_clip: Path) -> None:
    sets = ["tuning=full", "training.layer_decay=0.5", "training.encoder_rate=1"]
    config = Config.load(sets=sets)
    encoder = load_encoder(str(tiny_clip))
    begin_tuning(encoder, config)
    rates = {id(p): g["lr"] for g in tuned_groups(encoder, config) for p in g["params"]}
    for side in SIDES:
        tower = encoder.tower(side)
        assert tower is not None
        found = {name: rates[id(weight)] for name, weight in tower.named_parameters()}
        for part, rate in (("embeddings", 0.125), ("layers.0", 0.25), ("layers.1", 0.5)):
            assert {r for name, r in found.items() if part in name} == {rate}
        assert {r for name, r in found.items() if "projection" in name} == {1.0}


def test_checkpointing_and_bf16_learn_about_the_same(
    catalogue: Catalogue, settings: Settings, cache: Path
) -> None:
    plain = {"tuning": "full", "training__steps": 2, "training__encoder_rate": 1e-4}
    changes = [{}, {"training__checkpointing": True}, {"training__bf16": True}]
    made = [train(catalogue, settings(**plain, **change), cache=cache) for change in changes]
    vectors = [model.embed(catalogue.items[:8], "are big") for model in made]
    assert np.allclose(vectors[0], vectors[1], atol=1e-4)
    assert np.allclose(vectors[0], vectors[2], atol=0.1)


def test_a_word_stands_for_both_towers() -> None:
    assert Config.load(sets=["tuning=lora"]).tuning == Config(tuning="lora").tuning
    mixed = Config.load(sets=["tuning.image=lora"]).tuning
    assert (mixed.image, mixed.text) == ("lora", "frozen")
    with pytest.raises(ConfigError, match="tuning"):
        Config(tuning="half")


def _pickle(folder: Path) -> None:
    (weights,) = folder.glob("*.safetensors")
    weights.rename(folder / "pytorch_model.bin")


def _lie(folder: Path) -> None:
    """Say that the first tower is twice as wide as it is."""
    path = folder / "open_clip_config.json"
    path = path if path.exists() else folder / "config.json"
    text = path.read_text()
    for name in ("hidden_size", "width"):
        text = text.replace(f'"{name}": {WIDE}', f'"{name}": {2 * WIDE}', 1)
    path.write_text(text)


def _lose(folder: Path) -> None:
    (path,) = folder.glob("*.safetensors")
    state = load_file(path)
    parts = ("q_proj", "query", "c_fc")  # of CLIP, of BERT, of open_clip
    del state[next(name for name in state if any(part in name for part in parts))]
    save_file(state, path, metadata={"format": "pt"})


def _grow(folder: Path) -> None:
    tokenizer = _tokenizer()
    tokenizer.add_tokens([f"w{k}" for k in range(99)])
    tokenizer.save_pretrained(folder)


def _forget_words(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _timm(folder: Path) -> None:
    path = folder / "open_clip_config.json"
    facts = json.loads(path.read_text())
    facts["model_cfg"]["vision_cfg"]["timm_model_name"] = "vit"
    path.write_text(json.dumps(facts))


def _empty(folder: Path) -> None:
    (folder / "config.json").unlink()


BAD = {
    "a pickle": ("tiny_clip", _pickle, "pytorch_model.bin are a pickle"),
    "wrong sizes": ("tiny_clip", _lie, "do not fit"),
    "missing weights": ("tiny_clip", _lose, "1 weights are missing"),
    "another tokenizer": ("tiny_clip", _grow, "the embedding table ends at 79"),
    "no tokenizer": ("tiny_clip", _forget_words, "it has no tokenizer"),
    "nothing": ("tiny_clip", _empty, "expected a folder with open_clip_config.json"),
    "sentences: a pickle": ("tiny_sentences", _pickle, "are a pickle"),
    "sentences: wrong sizes": ("tiny_sentences", _lie, "do not fit"),
    "sentences: missing weights": ("tiny_sentences", _lose, "1 weights are missing"),
    "sentences: no tokenizer": ("tiny_sentences", _forget_words, "it has no tokenizer"),
    "sentences: another tokenizer": ("tiny_sentences", _grow, "the embedding table ends at 79"),
    "open_clip: a pickle": ("tiny_open_clip", _pickle, "pytorch_model.bin are a pickle"),
    "open_clip: wrong sizes": ("tiny_open_clip", _lie, "do not fit"),
    "open_clip: missing weights": ("tiny_open_clip", _lose, "weights are missing"),
    "open_clip: another tokenizer": ("tiny_open_clip", _grow, "the embedding table ends at 79"),
    "open_clip: a timm tower": ("tiny_open_clip", _timm, "timm_model_name = 'vit'"),
    "open_clip: no tokenizer": ("tiny_open_clip", _forget_words, "it has no tokenizer"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_folder_is_one_line(
    case: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    capfd: pytest.CaptureFixture[str],
) -> None:
    name, spoil, said = BAD[case]
    folder = tmp_path / "bad"
    shutil.copytree(request.getfixturevalue(name), folder)
    spoil(folder)
    capfd.readouterr()
    with pytest.raises(EncoderError, match=said) as caught:
        load_encoder(str(folder))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert capfd.readouterr() == ("", "")  # nor does any library say more


@pytest.mark.parametrize("name", ["some/name", "some/name + starter", "starter + some/name"])
def test_a_hub_that_does_not_answer_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What kind of folder it would be is only known once it is here."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RelatumError, match="from the hub: .*refused") as caught:
        load_encoder(name)
    assert "\n" not in str(caught.value)


def test_what_is_tuned_is_told_by_side(tiny_clip: Path) -> None:
    encoder, config = load_encoder(str(tiny_clip)), Config.load(sets=["tuning.text=full"])
    assert all(name.startswith("text.") for name in tuned_tensors(encoder, config.tuning))
