"""Training learns, can be stopped anywhere, and goes on exactly where it was."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import Settings
from relatum import Catalogue, Item, Model, train
from relatum import model as model_room
from relatum.checkpoint import newest_snapshot
from relatum.disk import restore_folder
from relatum.errors import CheckpointError, DataError, RelatumError
from relatum.loss import Losses
from relatum.progress import silent
from relatum.threads import lone_threads
from relatum.train.run import prepare


@pytest.fixture(scope="module")
def model(catalogue: Catalogue, settings: Settings, cache: Path) -> Model:
    return train(catalogue, settings(training__steps=60), cache=cache)


def weights(model: Model) -> dict[str, torch.Tensor]:
    return model.conditioner.state_dict()


def equal(one: Model, other: Model) -> bool:
    pairs = zip(weights(one).values(), weights(other).values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def metrics(folder: Path) -> list[dict]:
    """Read the rows of metrics, without the speed, which is another each time."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in row if name != "speed"} for row in rows]


@pytest.mark.parametrize("encoder", ["tiny_clip", "tiny_siglip"])
@pytest.mark.parametrize("tuning", ["frozen", "full"])
def test_ten_steps_raise_positives_above_negatives(
    encoder: str,
    tuning: str,
    catalogue: Catalogue,
    settings: Settings,
    cache: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    name = str(request.getfixturevalue(encoder))

    def losses(rate: float) -> list[float]:
        """Return the fused contrast at steps 5 and 10; the pools depend on the step alone."""
        config = settings(encoder=name, tuning=tuning, training__learning_rate=rate)
        train(catalogue, config, tmp_path / str(rate), cache=cache)
        lines = (tmp_path / str(rate) / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [5, 10]
        return [json.loads(line)["losses"]["both"] for line in lines]

    still, moved = losses(1e-9), losses(3e-3)
    assert moved[1] < still[1] - 0.05


def test_the_relation_changes_the_vectors_and_the_ranking(
    model: Model, catalogue: Catalogue
) -> None:
    colour = model.embed(catalogue.items, "are of the same colour")
    shape = model.embed(catalogue.items, "have the same shape")
    null = model.embed(catalogue.items)
    assert np.allclose(np.linalg.norm(colour, axis=1), 1, atol=1e-5)
    assert not np.allclose(colour, shape, atol=1e-2)
    assert not np.allclose(colour, null, atol=1e-2)


def test_order_and_company_do_not_change_a_vector(model: Model, catalogue: Catalogue) -> None:
    with pytest.raises(DataError, match="a relation's text is blank"):
        model.embed(catalogue.items, "  ")
    together = model.embed(catalogue.items, "are stacked")
    backwards = model.embed(catalogue.items[::-1], "are stacked")
    assert np.allclose(together, backwards[::-1], atol=1e-5)
    alone = model.embed(catalogue.items[:1], "are stacked")
    assert np.allclose(alone[0], together[0], atol=1e-5)


def test_items_with_one_modality_have_vectors(model: Model) -> None:
    text_only = Item("t", "red ball")
    for modality, expected in (("both", 1.0), ("text", 1.0), ("image", 0.0)):
        length = np.linalg.norm(model.embed([text_only], "are alike", modality)[0])  # pyright: ignore
        assert abs(length - expected) < 1e-5


def test_save_and_load_give_equal_vectors(
    model: Model, catalogue: Catalogue, tmp_path: Path
) -> None:
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert (model.embed(catalogue.items, "x") == loaded.embed(catalogue.items, "x")).all()
    assert loaded.fingerprint == model.fingerprint
    assert loaded.split == model.split
    assert not list(tmp_path.rglob("*.pt")) and not list(tmp_path.rglob("*.pkl"))


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_tokens_count_below_beta_one_only(
    beta: float, catalogue: Catalogue, settings: Settings, cache: Path
) -> None:
    made = train(catalogue, settings(model__beta=beta, training__steps=2), cache=cache)
    tokens = made.encode(catalogue.items, cache=cache)
    text = replace(tokens.text, tokens=tokens.text.tokens.flip(2))
    moved = made.condition(replace(tokens, text=text), "is big").text
    assert torch.equal(moved, made.condition(tokens, "is big").text) == (beta == 1)


@pytest.mark.parametrize("changed", [{}, {"model__beta": 0.5}, {"model__conditioned": False}])
def test_many_relations_at_once_give_what_each_gives_alone(
    changed: dict, catalogue: Catalogue, settings: Settings, cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(model_room, "BLOCK", (7, 2))  # 48 items and 5 relations: parts are left
    made = train(catalogue, settings(training__steps=5, **changed), cache=cache)
    texts = ["are of the same colour", "is big", "goes with", "is big", "are alike"]
    for tokens in (made.encode(catalogue.items, cache=cache), made.view(catalogue.items)):
        alone = torch.stack([made.condition(tokens, text).both for text in texts])
        assert torch.allclose(made.condition_many(tokens, texts), alone, rtol=0, atol=1e-6)
    dim = made.config.model.dim
    assert made.condition_many(tokens, []).shape == (0, 48, dim)
    assert made.condition_many(tokens[:0], texts).shape == (5, 0, dim)


def test_what_reads_ahead_leaves_the_other_threads_alone() -> None:
    before, reader = torch.get_num_threads(), lone_threads()
    reader.submit(lambda: torch.ones(1000, 1000).sum()).result()  # would set the thread's default
    assert reader.submit(torch.get_num_threads).result() == 1
    assert torch.get_num_threads() == before


def test_without_conditioning_every_relation_is_the_null_relation(
    catalogue: Catalogue, settings: Settings, cache: Path
) -> None:
    blind = train(catalogue, settings(model__conditioned=False, training__steps=2), cache=cache)
    assert (blind.embed(catalogue.items, "is big") == blind.embed(catalogue.items)).all()


@pytest.mark.parametrize(
    ("change", "zero"),
    [
        ({"loss__inter_item": False}, ["text_to_text", "image_to_image", "both", "relations"]),
        ({"loss__relations": 0.0}, ["relations"]),
        ({}, []),
    ],
)
def test_the_ablations_take_terms_out(
    change: dict,
    zero: list[str],
    catalogue: Catalogue,
    settings: Settings,
    cache: Path,
    tmp_path: Path,
) -> None:
    train(catalogue, settings(**change, training__steps=5), tmp_path, cache=cache)
    losses = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["losses"]
    assert [name for name, value in losses.items() if value == 0] == zero
    assert set(losses) == {*Losses.__dataclass_fields__, "relations"}


def test_the_same_seed_gives_the_same_model(
    catalogue: Catalogue, settings: Settings, cache: Path
) -> None:
    one, same, other = (
        train(catalogue, settings(training__steps=5, training__seed=seed), cache=cache)
        for seed in (1, 1, 2)
    )
    assert equal(one, same)
    assert not equal(one, other)


def test_resumed_training_equals_uninterrupted(
    catalogue: Catalogue,
    settings: Settings,
    cache: Path,
    tmp_path: Path,
) -> None:
    config = settings(training__steps=15)
    whole = train(catalogue, config, tmp_path / "whole", cache=cache)

    def stop_at(limit: int) -> None:
        def report(stage: str, done: int, total: int, note: str = "") -> None:
            if stage == "train" and done == limit:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(catalogue, config, tmp_path / "cut", resume=True, cache=cache, report=report)

    for limit in (7, 12):
        stop_at(limit)
    found = newest_snapshot(tmp_path / "cut/snapshots")
    assert found is not None and found[1]["step"] == 10
    resumed = train(catalogue, config, tmp_path / "cut", resume=True, cache=cache)
    assert equal(whole, resumed)
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "cut")


def test_a_snapshot_of_other_settings_is_refused(
    catalogue: Catalogue, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "train" and done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(catalogue, settings(), tmp_path, cache=cache, report=stop)
    with pytest.raises(CheckpointError, match="other settings"):
        train(catalogue, settings(training__steps=9), tmp_path, resume=True, cache=cache)


BAD_FOLDERS = {
    "no manifest": (lambda f: (f / "relatum.json").unlink(), "not a model folder"),
    "other version": (
        lambda f: (f / "relatum.json").write_text('{"format": 99}'),
        "model format 99, this version of relatum reads",
    ),
    "damaged manifest": (lambda f: (f / "relatum.json").write_text("{"), "manifest is damaged"),
    "one byte changed": (
        lambda f: (f / "weights.safetensors").write_bytes(
            bytearray((f / "weights.safetensors").read_bytes())[:-1] + b"\x7f"
        ),
        "not those that were saved",
    ),
    "cut weights": (
        lambda f: (f / "weights.safetensors").write_bytes(b"\0" * 9),
        "expected a whole safetensors file",
    ),
}


@pytest.mark.parametrize("damage", BAD_FOLDERS)
def test_a_bad_model_folder_is_one_line(model: Model, tmp_path: Path, damage: str) -> None:
    model.save(tmp_path)
    spoil, words = BAD_FOLDERS[damage]
    spoil(tmp_path)
    with pytest.raises(CheckpointError, match=words) as caught:
        Model.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_catalogue_too_small_to_train_is_named(catalogue: Catalogue, settings: Settings) -> None:
    small = Catalogue("small", catalogue.items[:5], catalogue.relations)
    with pytest.raises(DataError, match="small: 2 training items, expected at least 8"):
        train(small, settings())


def _wait_for_step(folder: Path, step: int, process: subprocess.Popen) -> None:
    """Wait until a snapshot of `step` or a later one is there."""
    begun = time.monotonic()
    while process.poll() is None and time.monotonic() - begun < 120:
        if any(int(path.stem[5:]) >= step for path in folder.glob("step-*.safetensors")):
            return
        time.sleep(0.02)


def test_killed_at_random_moments_it_loses_no_snapshot(
    folder: Path, settings: Settings, tmp_path: Path
) -> None:
    """Kill the command while it encodes, trains and saves; the last run must finish whole."""
    config = settings(training__steps=120, training__validate_every=2, training__patience=999)
    sets = [
        f"--set=encoder={config.encoder}",
        "--set=tokens.hidden=16",
        "--set=model.dim=48",
        "--set=training.steps=120",
        "--set=training.validate_every=2",
        "--set=training.patience=999",
        "--set=training.pools=3",
        "--set=training.pool_size=12",
    ]
    run, cache = tmp_path / "run", tmp_path / "cache"
    command = [sys.executable, "-m", "relatum.cli", "train", str(folder), "-o", str(run)]
    command += [*sets, "--resume", f"--cache={cache}"]
    chance, last = random.Random(0), -1
    for attempt in range(6):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        if attempt > 1:  # the first two die while they load and encode
            _wait_for_step(run / "snapshots", last + 2, process)
        time.sleep(chance.uniform(0, 3 if attempt < 2 else 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = newest_snapshot(run / "snapshots")
        if found is not None:
            assert found[1]["step"] >= last
            last = found[1]["step"]
    assert last >= 2
    subprocess.run(command, check=True, capture_output=True)
    uninterrupted = train(Catalogue.load(folder), config, cache=cache)
    assert equal(Model.load(run), uninterrupted)
    for line in (run / "metrics.jsonl").read_text().splitlines():
        json.loads(line)


def test_a_full_disk_stops_training_with_one_line(
    catalogue: Catalogue,
    settings: Settings,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RelatumError, match="no space left on device"):
        train(catalogue, settings(), tmp_path / "run", cache=cache)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_tuned_model_embeds_as_it_did_before_it_was_saved(
    catalogue: Catalogue, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    config = settings(tuning="full", training__steps=6, training__encoder_rate=1e-3)
    tuned = train(catalogue, config, tmp_path / "tuned", cache=cache)
    loaded = Model.load(tmp_path / "tuned")
    relation = "are of the same colour"
    assert (tuned.embed(catalogue.items, relation) == loaded.embed(catalogue.items, relation)).all()
    frozen = train(catalogue, settings(training__steps=1), cache=cache)
    assert loaded.encoder.fingerprint() != frozen.encoder.fingerprint()


def test_more_items_take_more_steps_unless_a_number_is_set(
    catalogue: Catalogue, settings: Settings, tmp_path: Path
) -> None:
    small = settings()
    unset = {"steps": None, "validate_every": None}
    training = small.training.model_copy(update=unset)
    by_size = small.model_copy(update={"training": training})
    run = prepare(catalogue, by_size, tmp_path, silent)
    for count, steps in ((40, 160), (4_000, 1_000), (100_000, 4_000)):
        run.items = [run.items[0]] * count
        assert (run.steps, run.validate_every) == (steps, steps // 8)
    run = prepare(catalogue, settings(training__steps=3), tmp_path, silent)
    run.items = [run.items[0]] * 4_000
    assert run.steps == 3


def test_relation_texts_are_kept_encoded_up_to_a_number(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks a service may type anything, and its memory has an end."""
    monkeypatch.setattr(model_room, "TEXTS", 5)
    texts = [f"are of the colour {number}" for number in range(12)]
    whole = model.relation_parts(texts)
    assert [*model._texts] == texts[-5:]
    again = model.relation_parts([texts[0], texts[-1], texts[0]])
    assert torch.allclose(again.pooled, whole.pooled[[0, -1, 0]], atol=1e-6)
    assert [*model._texts] == [*texts[-4:], texts[0]]


@pytest.mark.parametrize("name", ["run", "run[1]"])
def test_a_folder_that_a_kill_left_aside_comes_back(tmp_path: Path, name: str) -> None:
    old = tmp_path / f".{name}.0123abcd.old"
    old.mkdir()
    (old / "kept").touch()
    restore_folder(tmp_path / name)
    assert (tmp_path / name / "kept").exists() and not old.exists()
