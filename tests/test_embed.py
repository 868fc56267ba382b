"""A folder of vectors is whole or says what it lacks, however its shards were made."""

import json
import logging
import os
import random
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from conftest import Settings, damaged, write_catalogue
from relatum import Catalogue, Model, Store, train
from relatum.bulk import workers
from relatum.bulk.embed import Engine, Make, Outcome, Task, embed_folder, make_shard
from relatum.bulk.folder import Embeddings, Plan, find_shard, write_parquet
from relatum.bulk.workers import ALONE, on_ray
from relatum.cli import app
from relatum.encoders import Dual
from relatum.errors import DataError

COLOUR = "are of the same colour"


@pytest.fixture(scope="module")
def model(
    catalogue: Catalogue, settings: Settings, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("bulk") / "model"
    train(catalogue, settings(split__test_items=0.2), folder, cache=cache)
    return folder


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def ids(folder: Path) -> list[str]:
    return [name for path in shards(folder) for name in pq.read_table(path)["id"].to_pylist()]


def names(catalogue: Catalogue) -> list[str]:
    return [item.id for item in catalogue.items]


def stop_after(count: int) -> Engine:
    """Return an engine that is interrupted after so many shards."""

    def run(make: Make, tasks: Iterable[Task]) -> Iterator[Outcome]:
        yield from map(make, islice(tasks, count))
        raise KeyboardInterrupt

    return run


def test_shards_hold_what_embed_gives(
    model: Path, catalogue: Catalogue, cache: Path, tmp_path: Path
) -> None:
    made = embed_folder(model, catalogue, tmp_path, relation=COLOUR, shard=20, cache=cache)
    assert [outcome.count for outcome in made] == [20, 20, 8] and len(shards(tmp_path)) == 3
    assert ids(tmp_path) == names(catalogue)
    tables = [pq.read_table(path) for path in shards(tmp_path)]
    vectors = np.concatenate([np.array(table["vector"].to_pylist()) for table in tables])
    assert vectors == pytest.approx(Model.load(model).embed(catalogue.items, COLOUR), abs=2e-3)
    plain = np.concatenate([np.array(table["null_vector"].to_pylist()) for table in tables])
    assert plain == pytest.approx(Model.load(model).embed(catalogue.items), abs=2e-3)


def test_a_stopped_run_goes_on_shard_by_shard(
    model: Path, catalogue: Catalogue, cache: Path, tmp_path: Path
) -> None:
    def run(**changed: Any) -> list[int]:  # noqa: ANN401
        """Return which shards are made."""
        before = {path: path.stat().st_mtime_ns for path in shards(tmp_path)}
        given = {"shard": 20, "cache": cache} | changed
        embed_folder(model, catalogue, tmp_path, **given)
        after = {path: path.stat().st_mtime_ns for path in shards(tmp_path)}
        return [n for n, path in enumerate(after) if before.get(path) != after[path]]

    with pytest.raises(KeyboardInterrupt):
        run(engine=stop_after(2))
    assert len(shards(tmp_path)) == 2
    with pytest.raises(DataError, match=r"no whole embeddings\.json here; the same relatum embed"):
        Embeddings(tmp_path, Model.load(model).fingerprint, catalogue)
    assert run() == [2]
    assert run() == []
    shards(tmp_path)[1].write_bytes(shards(tmp_path)[1].read_bytes()[:-9])
    shards(tmp_path)[2].unlink()
    assert run() == [1, 2]
    assert run(relation=COLOUR) == [0, 1, 2]
    assert run(relation=COLOUR, shard=30) == [0, 1]
    assert ids(tmp_path)[:48] == names(catalogue)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_an_index_from_shards_encodes_no_item_and_answers_as_one_built_directly(
    beta: float,
    catalogue: Catalogue,
    settings: Settings,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = settings(split__test_items=0.2, model__beta=beta)
    trained = train(catalogue, config, tmp_path / "model", cache=cache)
    embed_folder(tmp_path / "model", catalogue, tmp_path / "v", shard=20, cache=cache)
    direct = Store.build(trained, catalogue, tmp_path / "direct", cache=cache)

    def refuse(*_: object) -> None:
        raise AssertionError("an item is encoded")

    made = Embeddings(tmp_path / "v", trained.fingerprint, catalogue)
    asked: list[str] = []
    encode_texts = Dual.encode_texts
    monkeypatch.setattr(Dual, "encode_images", refuse)
    monkeypatch.setattr(
        Dual, "encode_texts", lambda self, texts: asked.extend(texts) or encode_texts(self, texts)
    )
    # tokens of texts are kept by the model: no text but a relation's may be asked for
    built = Store.build(trained, made.catalogue, tmp_path / "s", encoded=made.read)
    assert not {item.text for item in catalogue.items} & {*asked}
    monkeypatch.undo()
    for name in ("i000", "i008", "i009"):
        for relation in (None, COLOUR, "look good beside"):
            mine, theirs = (s.search(item=name, relation=relation, k=50) for s in (built, direct))
            assert [hit.id for hit in mine] == [hit.id for hit in theirs]
            assert [hit.score for hit in mine] == [hit.score for hit in theirs]
            chances = [hit.probability for hit in theirs]
            assert [h.probability for h in mine] == pytest.approx(
                chances, abs=0 if beta == 1 else 0.05
            )


def test_other_models_and_catalogues_are_refused(
    model: Path, catalogue: Catalogue, cache: Path, tmp_path: Path
) -> None:
    embed_folder(model, catalogue, tmp_path, shard=20, cache=cache)
    with pytest.raises(DataError, match="made by another model or of another"):
        Embeddings(tmp_path, "other", catalogue)
    fewer = replace(catalogue, items=catalogue.items[:-1])
    with pytest.raises(DataError, match="another catalogue; run relatum embed"):
        Embeddings(tmp_path, Model.load(model).fingerprint, fewer)


@pytest.fixture
def poisoned(tmp_path: Path) -> Path:
    folder = write_catalogue(tmp_path / "shapes")
    for name in ("i021", "i030"):
        picture = folder / f"images/{name}.png"
        picture.write_bytes(picture.read_bytes()[:60])
    return folder


def test_a_bad_picture_is_named_with_its_shard_or_left_out_and_the_others_are_made(
    model: Path, poisoned: Path, cache: Path, tmp_path: Path
) -> None:
    def run(*words: object) -> tuple[int, str]:
        found = CliRunner().invoke(app, [*map(str, words), f"--cache={cache}"])
        return found.exit_code, str(found.exception or "") + found.stderr

    words = ["embed", model, poisoned, "-o", tmp_path / "v", "--shard", 10]
    code, said = run(*words)
    assert code and "shard 2: " in said and "item 'i021'" in said and "shard 3: " in said
    assert "i030" in said and "--skip-bad" in said
    assert len(shards(tmp_path / "v")) == 3
    index = ["index", model, poisoned, "-o", tmp_path / "store", "--from", tmp_path / "v"]
    assert "the same relatum embed goes on" in run(*index)[1]
    code, said = run(*words, "--skip-bad")
    assert not code and "left out: " in said and "item 'i021'" in said
    expected = [name for name in names(Catalogue.load(poisoned)) if name not in ("i021", "i030")]
    assert ids(tmp_path / "v") == expected
    code, said = run(*index, "--skip-bad")
    assert not code, said
    assert len(Store.open(tmp_path / "store")) == 46
    manifest = json.loads((tmp_path / "v/embeddings.json").read_text())
    assert manifest["counts"] == [10, 10, 9, 9, 8] and {*manifest["left_out"]} == {"i021", "i030"}


def on_two(make: Make, tasks: Iterable[Task]) -> Iterator[Outcome]:
    return on_ray(make, tasks, workers=2)


def dying(make: Make, folder: Path, number: int, times: int, how: str) -> Make:
    """Return a function that takes its process along the first few times it meets a shard."""

    def deadly(task: Task) -> Outcome:
        tries = len(list(folder.glob("try-*")))
        if task.number == number and tries < times:
            (folder / f"try-{tries}").touch()
            os._exit(1) if how == "exit" else os.kill(os.getpid(), signal.SIGKILL)
        return make(task)

    return deadly


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("skip_bad", [True, False])
def test_a_shard_that_could_not_be_read_once_is_no_whole_shard(
    skip_bad: bool, model: Path, catalogue: Catalogue, cache: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    whole = Model.view
    calls: list[int] = []

    def view(self: Model, *given: Any, **named: Any) -> Any:  # noqa: ANN401
        calls.append(1)
        if len(calls) == 1:  # a disk that was not there for a moment: every picture is fine
            raise DataError("cannot read", where="disk")
        return whole(self, *given, **named)

    monkeypatch.setattr(Model, "view", view)
    again = partial(embed_folder, model, catalogue, tmp_path, shard=20, cache=cache)
    with pytest.raises(DataError, match="shard 0: disk: cannot read"):
        again(skip_bad=skip_bad)
    assert not (tmp_path / "embeddings.json").exists()
    again(skip_bad=skip_bad)
    assert ids(tmp_path) == names(catalogue)


def test_workers_on_ray_lose_and_double_nothing_even_where_one_is_killed(
    model: Path,
    poisoned: Path,
    catalogue: Catalogue,
    cache: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, log_to_driver=False, **ALONE)
    try:
        run: Callable[..., object] = partial(
            embed_folder, model, shard=10, engine=on_two, cache=cache
        )
        (tmp_path / "a").mkdir()
        with caplog.at_level(logging.WARNING):
            deadly = dying(make_shard, tmp_path / "a", 1, workers.RETRIES, "kill")
            run(catalogue, tmp_path / "v", make=deadly)
        assert ids(tmp_path / "v") == names(catalogue)
        died = [line for line in caplog.messages if "shard 1: its worker died" in line]
        assert len(died) == len([*(tmp_path / "a").iterdir()]) == workers.RETRIES == 3
        embed_folder(model, catalogue, tmp_path / "here", shard=10, cache=cache)
        for here, there in zip(shards(tmp_path / "here"), shards(tmp_path / "v"), strict=True):
            assert pq.read_table(here)["id"] == pq.read_table(there)["id"]
            pairs = [pq.read_table(path)["vector"].to_pylist() for path in (here, there)]
            assert np.array(pairs[0]) == pytest.approx(np.array(pairs[1]), abs=1e-5)
        (tmp_path / "b").mkdir()
        bad = Catalogue.load(poisoned)
        monkeypatch.setattr(workers, "RETRIES", 1)  # each death costs the start of a process
        deadly = dying(make_shard, tmp_path / "b", 1, 99, "exit")
        with pytest.raises(DataError, match=r"shard 1: its worker died 2 times .* item 'i021'"):
            run(bad, tmp_path / "w", make=deadly)
        assert len(shards(tmp_path / "w")) == 2  # of 5: one deadly, two with a bad picture
        run(bad, tmp_path / "w", skip_bad=True)
        assert len(ids(tmp_path / "w")) == len({*ids(tmp_path / "w")}) == 46
    finally:
        ray.shutdown()


def test_a_damaged_shard_is_made_again(tmp_path: Path, catalogue: Catalogue) -> None:
    path, plan = tmp_path / "part.parquet", Plan("m", "c", None, "both", 96)
    columns = {"id": names(catalogue), "vector": [[0.5, 1.0]] * len(catalogue.items)}
    write_parquet(path, columns, {**vars(plan), "left_out": {}})
    whole, rng = path.read_bytes(), random.Random(0)
    assert find_shard(path, plan, catalogue.items) == {}
    found = []
    for _ in range(60):
        path.write_bytes(damaged(whole, rng, bits=1))
        found.append(find_shard(path, plan, catalogue.items))
    assert None in found
