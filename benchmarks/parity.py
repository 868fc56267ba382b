"""What conditioning costs at the paper's shape: beside fine-tuning plain CLIP, ViT-B/32.

The towers are drawn at random, items are noise: only time, memory and sizes are looked at. Each way
to train is a process of its own; their steps take turns, so that a busy machine slows all alike.
Seconds of CPU, of all threads together, hardly depend on what else the machine does.

    python benchmarks/parity.py [--batch 32] [--steps 3]
"""

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from relatum import Catalogue, Config, Item
from relatum.batch import Part, Tokens
from relatum.catalogue import Group, Relation
from relatum.conditioner import Conditioner
from relatum.config import ModelConfig, TokensConfig
from relatum.distributed import find_device
from relatum.encoders import Dual
from relatum.items import read_image
from relatum.progress import silent
from relatum.rivals.heads import Attention
from relatum.train.run import prepare
from relatum.train.step import take_step
from timing import spread, timed

VISION = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
VISION |= {"num_attention_heads": 12, "image_size": 224, "patch_size": 32}
TEXT = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12}
TEXT |= {"num_attention_heads": 8, "vocab_size": 49408, "max_position_embeddings": 77}
TEXT |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
DIM = 512
WORDS = [f"word{number}" for number in range(400)]
WAYS = {  # how each is named in the table
    "plain": "plain CLIP, all weights tuned",
    "full": "relatum, all weights tuned",
    "lora": "relatum, LoRA",
    "frozen": "relatum, frozen, from the cache",
}
Step = Callable[[], object]


def write_clip(folder: Path) -> None:
    """Write a checkpoint of ViT-B/32's sizes, with a tokenizer of whole words."""
    torch.manual_seed(0)
    config = CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=DIM)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    names = ["<pad>", "<unk>", "<s>", "</s>", *WORDS]
    raw = Tokenizer(models.WordLevel({w: k for k, w in enumerate(names)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("<s>", 2), ("</s>", 3)]
    raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=raw, **special).save_pretrained(folder)


def synthetic(count: int) -> Catalogue:
    """Return items of noise, in groups of four under two relations."""
    chance = np.random.default_rng(0)
    items: list[Item] = []
    for number in range(count):
        file = io.BytesIO()
        Image.fromarray(chance.integers(0, 256, (224, 224, 3), np.uint8)).save(file, "JPEG")
        items.append(Item(f"i{number}", " ".join(chance.choice(WORDS, 12)), file.getvalue()))
    kinds = [Relation("r0", "word0 word1 word2"), Relation("r1", "word3 word4 word5")]
    groups: list[Group] = []
    for kind in kinds:
        for start, rows in enumerate(chance.permutation(count).reshape(-1, 4)):
            groups.append(Group(kind.id, f"g{start}", tuple(items[row].id for row in rows)))
    return Catalogue("noise", tuple(items), tuple(kinds), tuple(groups))


def plain(folder: Path, batch: int) -> tuple[int, Step]:
    """Return the trained weights and a step of CLIP's own loss on own pairs."""
    encoder, items, device = Dual.load(folder), synthetic(batch).items, find_device("auto")
    model = encoder.model.to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        pictures, texts = [read_image(one) for one in items], [one.text for one in items]
        told = {"padding": "max_length", "truncation": True, "max_length": encoder.longest}
        inputs = encoder.tokenizer(texts, return_tensors="pt", **told)
        inputs |= encoder.processor(images=pictures, return_tensors="pt")
        optimiser.zero_grad(set_to_none=True)
        given = {name: tensor.to(device) for name, tensor in inputs.items()}
        model(**given, return_loss=True)["loss"].backward()
        optimiser.step()

    return count(model.parameters()), step


def ours(folder: Path, batch: int, way: str) -> tuple[int, Step]:
    """Return the trained weights and relatum's own step: half a batch told, half under no text."""
    sets = [f"encoder={folder / 'clip'}", f"tuning={way}", f"training.pool_size={batch // 2}"]
    sets += ["training.pools=2", "split.test_items=0", "split.validation_items=0"]
    run = prepare(synthetic(batch), Config.load(sets=sets), folder / "cache", silent)

    def step() -> None:
        assert take_step(run).items == batch
        run.step += 1

    return count(p for group in run.optimiser.param_groups for p in group["params"]), step


def count(weights: Any) -> int:  # noqa: ANN401
    """Return how many numbers there are in some weights."""
    return sum(weight.numel() for weight in weights)


def heads() -> str:
    """Return the sizes of conditioners for CLIP's vectors of 512 and the cache's tokens of 256."""
    tokens = torch.zeros(1, 1, TokensConfig().hidden)
    part = Part(tokens, torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, DIM))
    blank, sizes = Tokens(part, part), {}
    rival: nn.Module = Attention(blank, ModelConfig(dim=DIM, words_dim=0))
    sizes["the paper's attention (the rival), its three maps for each modality"] = count(
        p for name in ("query", "key", "value") for p in getattr(rival, name).parameters()
    )
    sizes["the same with its linear maps of the pooled vectors"] = count(rival.parameters())
    own = Conditioner(blank, ModelConfig())
    sizes[f"relatum's, {ModelConfig().dim} dimensions"] = count(own.parameters())
    rows = [f"| {name} | {size / 1e6:.2f} |" for name, size in sizes.items()]
    return "\n".join(["| conditioner | parameters, M |", "| --- | --- |", *rows])


def peak() -> int:
    """Return the MB that this process held at most; ru_maxrss would count its parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def work(way: str, folder: Path, batch: int) -> None:
    """Take a step for each line that comes in, and say what it took."""
    weights, step = plain(folder / "clip", batch) if way == "plain" else ours(folder, batch, way)
    print(weights, flush=True)
    for _ in sys.stdin:
        spent = time.process_time()
        print(timed(step), time.process_time() - spent, peak(), flush=True)


def begin(way: str, folder: str, batch: int) -> tuple[subprocess.Popen[str], int]:
    """Start a process and wait until it is ready to step."""
    words = [sys.executable, __file__, "--batch", str(batch), "--one", way, folder]
    told = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}  # who waits for its turn does not spin
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, text=True, env=told, stdin=pipe, stdout=pipe)
    return process, int(answer(process))


def answer(process: subprocess.Popen[str], question: str = "") -> str:
    """Return the next line of a process."""
    assert process.stdin and process.stdout
    process.stdin.write(question)
    process.stdin.flush()
    return process.stdout.readline()


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser()
    cuda = torch.cuda.is_available()
    parser.add_argument("--batch", type=int, default=512 if cuda else 32)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        return work(chosen.one[0], Path(chosen.one[1]), chosen.batch)
    print(heads() + "\n")
    with tempfile.TemporaryDirectory() as folder:
        write_clip(Path(folder) / "clip")
        started = {way: begin(way, folder, chosen.batch) for way in WAYS}
        taken: dict[str, list[list[float]]] = {way: [] for way in WAYS}
        for _ in range(chosen.steps + 1):
            for way, (process, _) in started.items():
                taken[way].append([float(part) for part in answer(process, "step\n").split()])
        for process, _ in started.values():
            process.communicate()
    where = "cuda" if cuda else f"cpu, {torch.get_num_threads()} threads"
    print(f"{where}, batch {chosen.batch}, {chosen.steps} steps; min / median / max\n")
    print(
        "| way | trained, M | a step, s | of plain | its CPU, s | of plain | peak, MB | of plain |"
    )
    print("| --- " * 8 + "|")
    for way, name in WAYS.items():
        row = [name, f"{started[way][1] / 1e6:.2f}"]
        for part in (0, 1):  # the first step warms up
            mine, theirs = ([one[part] for one in taken[w][1:]] for w in (way, "plain"))
            ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
            row += [spread(mine), f"{statistics.median(ratios):.3g}"]
        most, theirs = taken[way][-1][2], taken["plain"][-1][2]
        print(f"| {' | '.join(row)} | {most:.0f} | {most / theirs:.2f} |")


if __name__ == "__main__":
    main()
