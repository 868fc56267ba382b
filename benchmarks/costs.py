"""What conditioning costs beside encoding: ratios, measured in one run on one machine.

python benchmarks/costs.py [--items 200] [--repeats 5]
"""

import argparse
import tempfile
from pathlib import Path

import torch

from fitted import fit_to_chance
from relatum import Catalogue, Config, Model
from relatum.batch import Tokens
from relatum.encoders import encode_items, find_reduction, load_encoder
from timing import spread, timed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    items = Catalogue.load("furniture").items[: chosen.items]
    config = Config()
    encoder = load_encoder(config.encoder)
    with tempfile.TemporaryDirectory() as folder:
        reduction = find_reduction(items, [], encoder, config.tokens, cache=Path(folder))
        encode = [
            timed(lambda k=k: encode_items(items, encoder, reduction, cache=Path(folder) / str(k)))
            for k in range(chosen.repeats)
        ]
        tokens = encode_items(items, encoder, reduction, cache=Path(folder))
        kept = sum(path.stat().st_size for path in Path(folder, "tokens").rglob("*.safetensors"))
    model = Model(config, encoder, reduction)
    thousand = torch.arange(1000) % len(items)
    many: Tokens = tokens[thousand]
    texts = [f"go together in way number {number}" for number in range(100)]
    for text in texts:
        model.relation_part(text)
    fit_to_chance(model, tokens.float(), texts)
    model.condition(many, texts[0])
    one = [timed(lambda: model.condition(many, texts[0])) for _ in range(4 * chosen.repeats)]
    hundred = [
        timed(lambda: [model.condition(many, text) for text in texts])
        for _ in range(chosen.repeats)
    ]
    weights = sum(p.numel() for p in model.conditioner.parameters())
    per_item = [seconds / len(items) for seconds in encode]
    ratios = [a / 1000 / b for a in one for b in per_item]
    whole = [a / (1000 * b) for a in hundred for b in per_item]
    print(
        f"{torch.get_num_threads()} threads, {len(items)} items, {chosen.repeats} repeats; "
        "min / median / max"
    )
    print(f"conditioner                                   {weights / 1e6:.2f} M parameters")
    print(f"token cache, bytes an item                    {kept / len(items):.0f}")
    print(f"encode, ms an item (decode, encode, cache)    {spread([1e3 * t for t in per_item])}")
    print(f"condition, ms an item and relation            {spread(one)}")
    print(f"condition : encode, an item and relation      {spread(ratios)}")
    print(f"100 relations x 1,000 items : encoding those  {spread(whole)}")


if __name__ == "__main__":
    main()
