from pathlib import Path

import pytest
import yaml

from marketplace.errors import MarketplaceError
from marketplace.networks import BACKBONES
from marketplace.settings import ModelSettings, load_settings

PARAMS = Path(__file__).parents[1] / "params.yaml"


def changed(tmp_path: Path, key: str, value: str) -> Path:
    """params.yaml with one key set to a literal piece of YAML."""
    values = yaml.safe_load(PARAMS.read_text())
    *sections, last = key.split(".")
    section = values
    for name in sections:
        section = section[name]
    section[last] = "PLACE"
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values).replace("PLACE", value))
    return path


@pytest.mark.parametrize(("text", "value"), [("1e-05", 1e-5), ("3E-4", 3e-4), ("0.5", 0.5), ("1", 1.0)])
def test_a_rate_is_a_float_however_it_is_written(tmp_path: Path, text: str, value: float) -> None:
    lr = load_settings(changed(tmp_path, "train.lr", text)).train.lr
    assert lr == value
    assert isinstance(lr, float)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("clean.test", "1.2", "less than 1"),
        ("clean.val", "0", "greater than 0"),
        ("resize_images.small", "0", "greater than or equal to 32"),
        ("model.backbone", "resnet51", "'efficientnet_lite0', 'resnet18', 'resnet34' or 'resnet50'"),
        ("train.batch_size", "'16'", "a valid integer"),
        ("train.epochs", "true", "a valid integer"),
        ("train.epochs", "0", "greater than or equal to 1"),
        ("train.lr", "fast", "a valid number"),
        ("train.lr", ".nan", "a finite number"),
        ("train.flip_probability", "-0.1", "greater than or equal to 0"),
        ("train.select", "accuracy", "'val_accuracy' or 'val_loss'"),
        ("fetch.source", "ftp", "'sample', 'local', 's3' or 'ec2'"),
        ("fetch.limit", "0", "greater than or equal to 1"),
        ("train_full.warm_start", "maybe", "a valid boolean"),
    ],
)
def test_an_impossible_value_is_refused_by_key_value_and_what_is_allowed(
    tmp_path: Path, key: str, value: str, said: str
) -> None:
    with pytest.raises(MarketplaceError) as caught:
        load_settings(changed(tmp_path, key, value))
    message = str(caught.value)
    assert f"{key} = " in message
    assert said in message
    assert "\n" not in message


def test_an_unknown_key_is_refused_with_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(MarketplaceError, match=r"train\.ephocs = 3 is not a setting; did you mean epochs\?"):
        load_settings(changed(tmp_path, "train.ephocs", "3"))
    with pytest.raises(MarketplaceError, match=r"trian = 1 is not a setting; did you mean train\?"):
        load_settings(changed(tmp_path, "trian", "1"))


def test_a_missing_key_broken_yaml_and_a_missing_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    with pytest.raises(MarketplaceError, match=r"there is no .*params\.yaml.* repository's root"):
        load_settings(path)
    path.write_text("train: [")
    with pytest.raises(MarketplaceError, match="not valid YAML"):
        load_settings(path)
    path.write_text(PARAMS.read_text().replace("  epochs: ", "  # epochs: "))
    with pytest.raises(MarketplaceError, match=r"train\.epochs is missing"):
        load_settings(path)
    path.write_text("")
    with pytest.raises(MarketplaceError, match="the file = None is not allowed"):
        load_settings(path)


def test_the_backbones_that_settings_allow_are_those_that_exist() -> None:
    allowed = ModelSettings.model_json_schema()["properties"]["backbone"]["enum"]
    assert sorted(allowed) == sorted(BACKBONES)


def test_every_key_of_the_real_file_is_explained() -> None:
    keys = [line for line in PARAMS.read_text().splitlines() if line.startswith("  ") and not line.endswith(":")]
    bare = [line for line in keys if "#" not in line]
    # Those whose section or neighbour already says it.
    assert [line.split(":")[0].strip() for line in bare] == [
        "seed",
        "port",
        "user",
        "seed",
        "seed",
    ]
