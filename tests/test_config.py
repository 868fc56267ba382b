"""Settings come from TOML and --set, and unknown ones are refused."""

from pathlib import Path

import pytest

from relatum import Config
from relatum.config import SplitConfig
from relatum.errors import ConfigError


def test_a_seed_is_short_for_both_seeds() -> None:
    config = Config(seed=3)
    assert (config.split.seed, config.training.seed) == (3, 3)
    assert Config(**config.model_dump()) == config


def test_a_seed_goes_with_settings_that_are_made() -> None:
    config = Config(seed=3, split=SplitConfig(test_items=0.3), training={"seed": 5})
    assert (config.split.seed, config.split.test_items, config.training.seed) == (3, 0.3, 5)
    with pytest.raises(ConfigError, match="split: expected a table of settings, got 5"):
        Config(seed=3, split=5)


def test_pairs_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[training]\nsteps = 7\nseed = 1\n")
    config = Config.load(str(path), ["training.seed=2", "encoder=some/folder"])
    assert (config.training.steps, config.training.seed) == (7, 2)
    assert config.encoder == "some/folder"


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("training.stepz=3", "unknown setting 'training.stepz'"),
        ("model.beta=2", "model.beta: .*less than or equal to 1, got 2"),
        ("training.steps=many", "training.steps: .*got 'many'"),
        ("training.steps=true", "training.steps: .*true and false are not expected, got True"),
        ("split.held_out_relations=true", "true and false are not expected"),
        ("training.learning_rate=inf", "training.learning_rate: .*finite number, got inf"),
        ("beta", "expected name=value, got 'beta'"),
        ("encoder.x.y=1", "encoder"),
    ],
)
def test_a_wrong_setting_is_named(pair: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Config.load(sets=[pair])
