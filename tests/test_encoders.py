"""Items are encoded once, kept small, and found again by their content."""

import errno
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from relatum import Catalogue, Item, RelatumError
from relatum.batch import Part
from relatum.config import TokensConfig
from relatum.encoders import (
    Dual,
    Encoder,
    Raw,
    Reduction,
    Starter,
    TokenCache,
    encode_items,
    find_reduction,
    load_encoder,
)
from relatum.encoders.cache import RECORD_LIMIT
from relatum.encoders.encoder import Side
from relatum.encoders.reduction import fit_projection, pool_words
from relatum.encoders.starter import _folded, _image_tower
from relatum.errors import DataError, EncoderError
from relatum.items import text_key

CONFIG = TokensConfig(hidden=16)


@pytest.fixture(scope="module")
def clip(tiny_clip: Path) -> Encoder:
    return load_encoder(str(tiny_clip))


@pytest.fixture
def reduction(clip: Encoder, catalogue: Catalogue, tmp_path: Path) -> Reduction:
    items = catalogue.items
    return find_reduction(items[:30], items[30:], clip, CONFIG, cache=tmp_path)


class Counting:
    """Counts what an encoder is asked to encode."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.images, self.texts = encoder, 0, 0

    def fingerprint(self) -> str:
        return self.encoder.fingerprint()

    def encode_images(self, pictures: Sequence[Image.Image]) -> Raw:
        self.images += len(pictures)
        return self.encoder.encode_images(pictures)

    def encode_texts(self, texts: Sequence[str]) -> Raw:
        self.texts += len(texts)
        return self.encoder.encode_texts(texts)

    def tower(self, side: Side) -> torch.nn.Module | None:
        return self.encoder.tower(side)


BLANK = 1  # a white picture and "a" are encoded once to learn the shapes


@pytest.mark.parametrize("name", ["tiny_clip", "tiny_siglip"])
def test_dual_encoders_give_grids_words_and_vectors(
    name: str, request: pytest.FixtureRequest
) -> None:
    encoder = load_encoder(str(request.getfixturevalue(name)))
    assert isinstance(encoder, Dual)
    image = encoder.encode_images([Image.new("RGB", (50, 40), "red")] * 2)
    assert image.tokens.shape == (2, 36, 32)
    text = encoder.encode_texts(["red ball", "a big blue box"])
    assert text.mask.sum(1).tolist() == [2, 4]
    assert torch.isfinite(text.pooled).all()


def test_pictures_on_many_threads_are_those_of_one() -> None:
    encoder = Starter()
    pictures = [Image.new("RGB", (30, 40), (25 * n, 90, 255 - 25 * n)) for n in range(10)]
    with torch.no_grad():
        one = encoder.encode_images(pictures)
        torch.set_num_threads(2)
        try:
            many = encoder.encode_images([encoder.fit(picture) for picture in pictures])
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(1)
    assert torch.allclose(many.pooled, one.pooled, rtol=0, atol=1e-5)
    assert not torch.allclose(many.pooled[0], many.pooled[9], rtol=0, atol=1e-2)


def test_the_starter_pair_knows_a_lamp_from_a_dog() -> None:
    starter = Starter()
    with torch.inference_mode():
        pooled = starter.encode_texts(["a lamp", "a desk light", "a small dog"]).pooled
    near = torch.nn.functional.normalize(pooled, dim=-1)
    assert near[0] @ near[1] > near[0] @ near[2] + 0.2


def test_the_folded_tower_gives_what_the_package_gives() -> None:
    theirs, pixels = _image_tower(), torch.rand(2, 3, 224, 224) * 2 - 1
    with torch.inference_mode():
        expected = theirs.extract_features(pixels)  # pyright: ignore
        folded = _folded(theirs)
        assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in folded.modules())
        assert torch.allclose(folded.extract_features(pixels), expected, atol=1e-3)  # pyright: ignore


def test_a_changed_item_alone_is_encoded_again(
    clip: Encoder, catalogue: Catalogue, tmp_path: Path
) -> None:
    items = list(catalogue.items)

    def run(some: list[Item]) -> Counting:
        counting = Counting(clip)
        reduction = find_reduction(some[:30], some[30:], counting, CONFIG, cache=tmp_path)
        encode_items(some, counting, reduction, cache=tmp_path)
        return counting

    first = run(items)
    images = sum(item.image is not None for item in items)
    assert images <= first.images <= images + 4 * BLANK
    again = run(items)
    assert again.images <= 2 * BLANK and again.texts <= 2 * BLANK
    changed = [replace(items[0], text="a green bar"), *items[1:]]
    assert run(changed).texts == again.texts + 1


def test_a_reduction_never_saw_what_is_held_out_now(
    clip: Encoder, catalogue: Catalogue, tmp_path: Path
) -> None:
    items = catalogue.items
    one = find_reduction(items[:30], items[30:], clip, CONFIG, cache=tmp_path)
    same = find_reduction(items[:31], items[31:], clip, CONFIG, cache=tmp_path)
    other = find_reduction(items[10:40], items[:10], clip, CONFIG, cache=tmp_path)
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_tokens_come_in_the_items_order_whatever_the_batch(
    clip: Encoder, reduction: Reduction, catalogue: Catalogue, tmp_path: Path
) -> None:
    items = catalogue.items[:20]
    together = encode_items(items, clip, reduction, cache=tmp_path)
    alone = encode_items(items[7:8], clip, reduction, cache=tmp_path / "other")
    assert torch.allclose(together.text.pooled[7], alone.text.pooled[0], atol=3e-2)
    assert together.image.present.tolist() == [item.image is not None for item in items]
    assert together.text.present.tolist() == [item.text is not None for item in items]


def test_a_bad_picture_stops_encoding_with_its_id(
    clip: Encoder, reduction: Reduction, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="item 'x': expected a picture"):
        encode_items([Item("x", None, b"no picture")], clip, reduction, cache=tmp_path)


def test_a_damaged_shard_is_encoded_again(
    clip: Encoder, reduction: Reduction, catalogue: Catalogue, tmp_path: Path
) -> None:
    items = catalogue.items[:10]
    before = encode_items(items, clip, reduction, cache=tmp_path)
    shards = list(tmp_path.glob("tokens/*/images/*.safetensors"))
    for shard in shards:
        shard.write_bytes(shard.read_bytes()[:-7])
    after = encode_items(items, clip, reduction, cache=tmp_path)
    assert torch.allclose(before.image.tokens, after.image.tokens, atol=3e-2)


def part(rows: int, width: int = 4) -> Part:
    mask = torch.ones(rows, 3, dtype=torch.bool)
    return Part(torch.randn(rows, 3, width), mask, torch.randn(rows, 5))


def names(letters: str) -> list[str]:
    return [text_key(letter) for letter in letters]


def test_the_cache_returns_what_it_was_given(tmp_path: Path) -> None:
    one, two = part(3), part(2)
    cache = TokenCache(tmp_path)
    cache.write(names("abc"), one)
    cache.write(names("de"), two)
    reopened = TokenCache(tmp_path)
    assert reopened.missing(names("exax")) == names("x")
    read = reopened.view(reopened.find(names("ebd")), one, lean=False)[:]
    assert torch.equal(read.tokens[1], one.tokens[1].half())
    assert torch.equal(read.pooled[0], two.pooled[1].half())


def test_a_record_over_16_kb_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RelatumError, match=f"at most {RECORD_LIMIT}"):
        TokenCache(tmp_path).write(names("a"), part(1, width=4096))


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RelatumError, match="no space left on device; free some space"):
        TokenCache(tmp_path).write(names("a"), part(1))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_encoder_is_one_line() -> None:
    with pytest.raises(EncoderError, match="cannot be loaded") as caught:
        load_encoder("/no/such/folder")
    assert "\n" not in str(caught.value)


def test_a_projection_keeps_most_of_what_differs() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(200, 3) @ torch.randn(3, 12) + 5
    projection = fit_projection(tokens, 3)
    back = projection(tokens) @ projection.basis.T + projection.mean
    assert torch.allclose(back, tokens, atol=1e-4)


def test_long_texts_are_pooled_and_short_ones_kept() -> None:
    tokens = torch.arange(8.0).reshape(1, 8, 1)
    mask = torch.tensor([[False, True, True, True, True, True, True, False]])
    assert pool_words(Raw(tokens, mask, tokens[:, 0]), 3).tokens.flatten().tolist() == [
        1.5,
        3.5,
        5.5,
    ]
    assert pool_words(Raw(tokens, mask, tokens[:, 0]), 9).tokens.shape == (1, 6, 1)
