"""Encoders on a card, conditioner on the processors: nothing is read, or meets, where it is not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import relatum.encoders.encode as encode_room
import relatum.export.onnx as onnx_room
from conftest import Settings, train_hinted
from paper import CARD, paper_card
from relatum import Catalogue, Model, Store, evaluate, train
from relatum.encoders.encoder import device_of
from relatum.export.onnx import export_onnx
from relatum.export.vectors import embed_inputs
from relatum.store import Query

COLOUR = "are of the same colour"
SPLIT = {"split__test_items": 0.5, "split__validation_items": 0.1}


@pytest.fixture(scope="module")
def folder_of(
    catalogue: Catalogue, settings: Settings, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("paper") / "model"
    train_hinted(catalogue, settings(**SPLIT), folder, cache)
    return folder


def tower(model: Model) -> nn.Module:
    assert isinstance(model.encoder, nn.Module)
    return model.encoder


def moved(model: Model) -> nn.Module:
    """Move the towers to the card; forget what they said before."""
    encode_room._BLANKS.clear()
    return tower(model).to(CARD)


def new(catalogue: Catalogue) -> dict[str, Any]:
    both = next(item for item in catalogue.items if item.image is not None and item.text)
    return {"text": "a big red ball", "image": both.image}


def test_the_card_of_paper_complains_as_a_real_one_does(folder_of: Path) -> None:
    loaded = Model.load(folder_of)
    with paper_card():
        *_, weight = moved(loaded).parameters()
        assert weight.device == CARD and (weight + weight).device == CARD
        with pytest.raises((RuntimeError, TypeError), match="numpy"):
            weight.detach().numpy()
        with pytest.raises(RuntimeError, match="some tensors are on the card, others are not"):
            _ = weight + weight.detach().cpu()
        assert np.isfinite(weight.detach().cpu().numpy()).all()
        there, rows = weight.detach(), torch.tensor([0, 0])
        assert there[rows].device == CARD
        with pytest.raises(RuntimeError, match="others are not"):
            _ = there.cpu()[rows.to(CARD)]
        with pytest.raises(RuntimeError, match="others are not"):
            there[rows] = there.cpu()[rows]


def test_a_store_is_built_and_asked(folder_of: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    here, there = Model.load(folder_of), Model.load(folder_of)
    stores = [Store.build(here, catalogue, tmp_path / "here", cache=tmp_path / "a")]
    hits = [stores[0].search(**new(catalogue), relation=COLOUR, k=5, explain=True)]
    with paper_card():
        moved(there)
        stores.append(Store.build(there, catalogue, tmp_path / "there", cache=tmp_path / "b"))
        hits.append(stores[1].search(**new(catalogue), relation=COLOUR, k=5, explain=True))
        asked = Query("i000", relation="both are big", examples=[("i001", "i002")])
        assert isinstance(stores[1].search_many([asked])[0], list)
    for one, other in zip(*hits, strict=True):
        assert one.id == other.id and one.score == pytest.approx(other.score, abs=1e-5)
        assert one.explanation is not None and other.explanation is not None
        carried = one.explanation.hit, other.explanation.hit
        assert carried[0].image == pytest.approx(carried[1].image, abs=1e-5)
        assert carried[0].text == pytest.approx(carried[1].text, abs=1e-5)


def test_a_model_is_trained_judged_and_asked_for_vectors(
    folder_of: Path, catalogue: Catalogue, settings: Settings, tmp_path: Path
) -> None:
    loaded = Model.load(folder_of)
    chosen, given = settings(**SPLIT), ["a red ball", new(catalogue)]
    with paper_card():
        made = train(catalogue, chosen, encoder=moved(loaded), cache=tmp_path)
        report = evaluate(made, catalogue, cache=tmp_path)
        assert report.sections
        found = embed_inputs(made, given, COLOUR)
    wanted = embed_inputs(Model.load(folder_of), given, COLOUR)
    assert np.allclose(found, wanted, atol=1e-4)


def test_an_export_is_made_on_the_processors(
    folder_of: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card rounds more than an export may differ by; after it the towers are where they were."""
    model, seen = Model.load(folder_of), []
    monkeypatch.setattr(onnx_room, "_write_graphs", lambda *_: None)

    def difference(model: Model, *_: object) -> float:
        seen.extend([device_of(tower(model)), device_of(model.conditioner)])
        return 0.0

    monkeypatch.setattr(onnx_room, "_difference", difference)
    with paper_card():
        moved(model)
        model.conditioner.to(CARD)
        export_onnx(model, tmp_path / "out")
        assert device_of(tower(model)) == device_of(model.conditioner) == CARD
    assert [device.type for device in seen] == ["cpu", "cpu"]
