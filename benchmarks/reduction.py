"""What reducing tokens costs in quality: the same training on more and on fewer tokens.

`--raw` takes the raw grid and all word pieces at full width instead, which the cache would refuse
(over 16 kB an item); the limit is lifted here.

    python benchmarks/reduction.py [--catalogue survival] [--seeds 2] [--raw]
"""

import argparse
from pathlib import Path

import numpy as np

import relatum.encoders.cache as token_cache
from relatum import Catalogue, Config, train
from relatum.protocols.questions import build_questions
from relatum.protocols.retrieval import measure, model_method

SETTINGS = {
    "1 + 1 tokens, 256": (1, 1, 256),
    "4 + 8 tokens, 256": (2, 8, 256),
    "16 + 24 tokens, 64": (4, 24, 64),
    "16 + 24 tokens, 256": (4, 24, 256),
}
RAW = {"49 + 128 tokens, raw": (7, 128, 1280)}  # half an hour and more


def main() -> None:
    """Train and measure with each setting; the default is not chosen by this table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--catalogue", default="survival")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--raw", action="store_true", help="the raw tokens instead")
    chosen = parser.parse_args()
    token_cache.RECORD_LIMIT = 1 << 20
    catalogue = Catalogue.load(chosen.catalogue)
    by_id = {item.id: item for item in catalogue.items}
    print(f"{chosen.catalogue}, {chosen.seeds} seeds, test items; Hit@5, other-relation, P@10")
    for name, (side, words, hidden) in (RAW if chosen.raw else SETTINGS).items():
        rows = []
        for seed in range(chosen.seeds):
            tokens = {"image_side": side, "text_tokens": words, "hidden": hidden}
            model = train(catalogue, Config(seed=seed, tokens=tokens), cache=chosen.cache)
            assert model.split is not None
            items = [by_id[key] for key in model.split.test]
            method = model_method(model, model.encode(items, cache=chosen.cache), ("both",))
            outcome = measure(name, method, build_questions(catalogue, model.split.test))
            metrics = ("hit@5", "other hit@5", "precision@10")
            rows.append([outcome.mean("both", metric) for metric in metrics])
        cells = "  ".join(f"{value:.3f}" for value in np.mean(rows, axis=0))
        print(f"{name:<22} {cells}", flush=True)


if __name__ == "__main__":
    main()
