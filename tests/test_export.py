"""What is exported gives the model's own vectors, and mistakes are one line."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from huggingface_hub import HfApi
from torch import Tensor

import relatum.export.hub as hub
from conftest import COLOURS, Settings, train_hinted
from relatum import Item, Model, RelatumError, train
from relatum.catalogue import Catalogue
from relatum.encoders import forward_items
from relatum.export import export_vectors, from_pretrained, push_to_hub, save_pretrained
from relatum.export.mteb import MtebEncoder
from relatum.export.onnx import export_onnx
from relatum.export.sentence import export_sentence
from relatum.items import read_image
from relatum.store import Store
from test_cli import run

ASKED = (None, "are of the same colour", "would look odd in a garden", "both are big")
REPORT = {
    "catalogue": "shapes",
    "headline": "Hit@5 of 21",
    "notes": ["Small."],
    "sections": [{"rows": []}],
}


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELATUM_CACHE", str(cache))


@pytest.fixture(scope="module")
def folder_of(
    catalogue: Catalogue, settings: Settings, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("export") / "model"
    config = settings(training__steps=3, training__validate_every=3)
    train_hinted(catalogue, config, folder, cache)
    return folder


@pytest.fixture(scope="module")
def model(folder_of: Path) -> Model:
    return Model.load(folder_of)


@pytest.fixture(scope="module")
def served(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "onnx"
    difference, costs = export_onnx(model, folder, int8=True)
    assert difference < 1e-4
    assert [row[:2] for row in costs[1:]] == [
        [side, kind] for side in ("text", "image") for kind in ("fp32", "int8")
    ]
    return folder


def exact(model: Model, items: Sequence[Item], relation: str | None, side: str = "both") -> Tensor:
    """Return vectors that did not go through the token cache, which holds half precision."""
    with torch.no_grad():
        tokens = forward_items(items, model.encoder, model.reduction)
    return getattr(model.condition(tokens, relation), side)


def far(a: object, b: object) -> float:
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


def test_a_model_that_went_over_the_hub_gives_equal_vectors(
    model: Model, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "hub"

    def upload(_: HfApi, *, repo_id: str, folder_path: Path) -> str:
        (place / repo_id).parent.mkdir(parents=True)
        Path(folder_path).rename(place / repo_id)
        return f"https://hub/{repo_id}"

    def download(repo_id: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        assert not any(Path("a.py").match(pattern) for pattern in allow_patterns)
        return str(place / repo_id)

    monkeypatch.setattr(HfApi, "create_repo", lambda *_, **__: None)
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    monkeypatch.setattr(hub, "snapshot_download", download)
    assert push_to_hub(model, "me/shapes") == "https://hub/me/shapes"
    found = from_pretrained("me/shapes")
    assert found.config.encoder == str(place / "me/shapes/encoder")
    assert model.config.encoder not in (place / "me/shapes/relatum.json").read_text()
    for relation in ASKED:
        ours, theirs = (one.embed(catalogue.items, relation) for one in (model, found))
        assert np.array_equal(ours, theirs)


def test_the_card_says_what_the_model_is(model: Model, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    save_pretrained(model, tmp_path / "out", report=tmp_path, licence="mit")
    text = (tmp_path / "out/README.md").read_text()
    assert text.startswith("---\nlicense: mit\nlibrary_name: relatum\npipeline_tag:")
    assert "| larger | is larger than | is smaller than |" in text
    assert model.catalogue in text and model.fingerprint in text and "- Small." in text
    assert model.split is not None and f"{len(model.split.train)} train" in text
    code = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[0]
    exec(code.replace("FOLDER OR HUB ID", str(tmp_path / "out")), {})


def test_a_hub_that_does_not_answer_is_one_line(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise hub.HTTPError("[Errno 111] Connection refused")

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    monkeypatch.setattr(HfApi, "create_repo", refuse)
    for ask in (lambda: from_pretrained("me/none"), lambda: push_to_hub(model, "me/none")):
        with pytest.raises(RelatumError, match=r"^me/none: no folder.* refused; check the name"):
            ask()


def test_onnx_gives_the_models_vectors(model: Model, served: Path, catalogue: Catalogue) -> None:
    from relatum.export.runtime import OnnxModel

    loaded = OnnxModel.load(served)
    given = [{"text": item.text, "image": item.image} for item in catalogue.items]
    for relation in ASKED:
        for modality in ("image", "text", "both"):
            theirs = loaded.embed(given, relation, modality)
            assert far(theirs, exact(model, catalogue.items, relation, modality)) < 1e-4
    with pytest.raises(FileNotFoundError, match="expected an ONNX export"):
        OnnxModel.load(served.parent)


def test_onnx_is_served_without_torch_and_relatum(served: Path, model: Model) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['relatum'] = None\n"
        "from runtime import OnnxModel\n"
        "print(OnnxModel.load('.').embed(['red ball', 'a box'], 'give light').tolist())"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=served, capture_output=True, text=True, check=True)
    items = [Item("1", "red ball"), Item("2", "a box")]
    assert far(json.loads(done.stdout), exact(model, items, "give light")) < 1e-4


@pytest.mark.parametrize("name", ["starter", "tiny_siglip", "own_map"])
def test_other_models_are_exported(
    name: str,
    catalogue: Catalogue,
    settings: Settings,
    cache: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    from relatum.export.runtime import OnnxModel

    changes: dict[str, object] = {"encoder": name} if name == "starter" else {}
    if name == "tiny_siglip":
        changes = {"encoder": str(request.getfixturevalue(name))}
    elif name == "own_map":
        changes = {"model__own_relation_map": True}
    made = train(catalogue, settings(training__steps=2, **changes), cache=cache)
    assert export_onnx(made, tmp_path / "out")[0] < 1e-4
    served, some = OnnxModel.load(tmp_path / "out"), catalogue.items[:9]
    given = [{"text": item.text, "image": item.image} for item in some]
    for relation in ASKED:
        assert far(served.embed(given, relation), exact(made, some, relation)) < 1e-4


def test_sentence_transformers_gives_the_models_vectors(
    model: Model, catalogue: Catalogue, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    item = next(item for item in catalogue.items if item.text and isinstance(item.image, Path))
    picture = read_image(item)
    given = ["a red ball", picture, {"text": item.text, "image": picture}]
    items = [Item("1", "a red ball"), Item("2", None, item.image), item]
    for relation in ASKED[:2]:
        folder = tmp_path / str(relation)
        export_sentence(model, folder, relation)
        loaded = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")
        assert loaded.similarity_fn_name == "dot"  # a cosine would undo shorter vectors
        ours = exact(model, items, relation)
        assert far(loaded.encode(given[:1]), ours[:1]) < 1e-4
        assert far(np.stack([loaded.encode(one) for one in given]), ours) < 1e-4
        loaded.save(str(tmp_path / f"again {relation}"), create_model_card=False)
        again = SentenceTransformer(str(tmp_path / f"again {relation}"), trust_remote_code=True)
        assert np.array_equal(again.encode(["a"]), loaded.encode(["a"]))


def test_vectors_come_with_metadata(
    model: Model, catalogue: Catalogue, cache: Path, tmp_path: Path
) -> None:
    names = export_vectors(model, catalogue.items, tmp_path / "v", ["Give light!"], cache=cache)
    assert names == ["vectors.parquet", "asked-1-give-light.parquet"]
    for name, relation in zip(names, (None, "Give light!"), strict=True):
        table = pq.read_table(tmp_path / "v" / name)
        assert table.column_names == ["id", "text", "colour", "size", "vector"]
        assert set(table["colour"].to_pylist()) == set(COLOURS)
        vectors = np.stack(table["vector"].to_numpy())
        assert vectors.dtype == np.float32
        assert np.array_equal(vectors, model.embed(catalogue.items, relation))
    assert export_vectors(model, catalogue.items, tmp_path / "w", "Give light!") == names


class Products:
    """What faiss.IndexFlatIP does, by numpy; its rows are float32, as faiss wants them."""

    def __init__(self, dim: int) -> None:
        self.rows = np.empty((0, dim), np.float32)

    def add(self, rows: np.ndarray) -> None:
        assert rows.dtype == np.float32 and rows.flags.c_contiguous
        self.rows = np.concatenate([self.rows, rows])

    def search(self, asked: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores = asked @ self.rows.T
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, rows, 1), rows


def test_the_lines_that_load_vectors_find_what_a_search_finds(
    model: Model,
    catalogue: Catalogue,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    relation, item = "are of the same colour", catalogue.items[0]
    export_vectors(model, catalogue.items, tmp_path / "v", [relation], cache=cache)
    guide = (tmp_path / "v/README.md").read_text()
    codes = re.findall(r"```python\n(.*?)```", guide, flags=re.DOTALL)
    assert len(codes) == 3
    for code in codes:
        compile(code, "README.md", "exec")
        assert "asked-1-are-of-the-same-colour.parquet" in code
    monkeypatch.chdir(tmp_path / "v")
    monkeypatch.setitem(sys.modules, "faiss", SimpleNamespace(IndexFlatIP=Products))
    exec(compile(codes[0], "README.md", "exec"), {})
    found = ast.literal_eval(capsys.readouterr().out)
    scores = model.embed([item], relation) @ model.embed(catalogue.items).T
    best = np.argsort(-scores[0], kind="stable")[:10]
    assert found == [catalogue.items[row].id for row in best]
    store = Store.build(model, catalogue, tmp_path / "store", cache=cache)
    hits = [hit.id for hit in store.search(item=item.id, relation=relation, k=10)]
    others = [id for id in found if id != item.id]  # a search leaves out what is asked about
    assert hits[: len(others)] == others


def test_mteb_asks_queries_under_the_relation(model: Model, catalogue: Catalogue) -> None:
    encoder = MtebEncoder(model, relation="have the same shape")
    item = next(item for item in catalogue.items if item.text and isinstance(item.image, Path))
    picture = read_image(item)
    batches = [{"text": ["a red ball", ""], "title": ["", ""]}, {"text": ["a"]}]
    words = {"task_metadata": None, "hf_split": "test", "hf_subset": "default", "batch_size": 2}
    queries = encoder.encode(batches, prompt_type="query", **words)
    documents = encoder.encode(batches, prompt_type="document", **words)
    items = [Item("1", "a red ball"), Item("2", "a")]
    assert far(queries[[0, 2]], exact(model, items, "have the same shape")) < 1e-4
    assert far(documents[[0, 2]], exact(model, items, None)) < 1e-4
    assert not queries[1].any()
    both = encoder.encode([{"image": [picture], "text": [item.text]}], **words)
    assert far(both, exact(model, [item], "have the same shape")) < 1e-4
    assert encoder.similarity(queries, documents).shape == (3, 3)
    assert (
        far(
            np.diag(encoder.similarity(queries, documents)),
            encoder.similarity_pairwise(queries, documents),
        )
        < 1e-6
    )


def test_mistakes_are_one_line(
    folder_of: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    for words in (
        ("pretrained", folder_of, "-o", tmp_path / "mine"),
        ("onnx", folder_of, "-o", tmp_path / "mine"),
        ("vectors", folder_of, folder, "-o", tmp_path / "mine"),
        ("sentence-transformers", folder_of, "-o", tmp_path / "mine"),
    ):
        code, _, err = run(capsys, "export", *words)
        assert code == 2 and "the folder holds 'thesis.txt'" in err.splitlines()[-1]
    code, _, err = run(capsys, "export", "onnx", tmp_path / "none", "-o", tmp_path / "new")
    assert code == 2 and len(err.splitlines()) == 1
    assert (tmp_path / "mine/thesis.txt").exists() and not (tmp_path / "new").exists()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, package in (
        ("onnx", "onnxscript"),
        ("sentence", "sentence_transformers.base.modules"),
    ):
        monkeypatch.delitem(sys.modules, f"relatum.export.{name}")
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(RelatumError, match=r"pip install 'relatum\["):
            __import__(f"relatum.export.{name}")
