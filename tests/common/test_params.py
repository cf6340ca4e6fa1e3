"""params.yaml and its schema: the values that are read, and the messages of mistakes."""

from pathlib import Path

import pytest
import yaml
from helpers.paths import ROOT

from marketplace.common.errors import MarketplaceError
from marketplace.common.params import SCHEMA, check_params, load_section
from marketplace.models.backbones import BACKBONES, ModelSettings
from marketplace.settings import load_settings, schema_text
from marketplace.sources.dump import FetchSettings
from marketplace.training.settings import TrainSettings

PARAMS = ROOT / "params.yaml"


def write_changed_params(tmp_path: Path, key: str, value: str) -> Path:
    """Write params.yaml with one key set to a literal piece of YAML."""
    values = yaml.safe_load(PARAMS.read_text())
    *sections, last = key.split(".")
    section = values
    for name in sections:
        section = section[name]
    section[last] = "PLACE"
    return write_params(tmp_path, yaml.safe_dump(values).replace("PLACE", value))


def write_params(tmp_path: Path, text: str) -> Path:
    """Write a params.yaml with this content, next to the schema."""
    path = tmp_path / "params.yaml"
    path.write_text(text)
    (tmp_path / SCHEMA).write_text((ROOT / SCHEMA).read_text())
    return path


@pytest.mark.parametrize(("text", "value"), [("1e-05", 1e-5), ("3E-4", 3e-4), ("0.5", 0.5), ("1", 1.0)])
def test_a_rate_is_a_float_however_it_is_written(tmp_path: Path, text: str, value: float) -> None:
    lr = load_section("train", TrainSettings, write_changed_params(tmp_path, "train.lr", text)).lr
    assert lr == value
    assert isinstance(lr, float)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("clean.test", "1.2", "less than 1"),
        ("clean.val", "0", "greater than 0"),
        ("resize_images.small", "0", "a whole number, at least 32 and at most 1024"),
        ("model.backbone", "resnet51", "'efficientnet_lite2', 'resnet18', 'resnet34' or 'resnet50'"),
        ("train.batch_size", "'16'", "a whole number, at least 2"),
        ("train_full.epochs", "true", "a whole number, at least 1"),
        ("train_small.epochs", "0", "at least 1"),
        ("train.lr", "fast", "a number, greater than 0 and at most 1"),
        ("train.lr", ".nan", "a number, greater than 0"),
        ("train.flip_probability", "-0.1", "at least 0 and at most 1"),
        ("train.select", "accuracy", "'val_accuracy', 'val_loss' or 'val_recall_at_1'"),
        ("fetch.source", "ftp", "'sample', 'local', 's3' or 'ec2'"),
        ("fetch.limit", "0", "a whole number, at least 1 or null"),
        ("train_full.warm_start", "maybe", "true or false"),
        ("fetch.ec2.fingerprint", "MD5:aa", "a text, of the form ^SHA256"),
    ],
)
def test_an_impossible_value_in_any_section_is_refused_with_its_key_and_allowed_values(
    tmp_path: Path, key: str, value: str, message: str
) -> None:
    """The first stage that runs refuses it, although it reads another section."""
    with pytest.raises(MarketplaceError) as caught:
        load_section("fetch", FetchSettings, write_changed_params(tmp_path, key, value))
    text = str(caught.value)
    assert f"{key} = " in text
    assert message in text
    assert "\n" not in text


def test_an_unknown_key_is_refused_with_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(MarketplaceError, match=r"train_full\.ephocs = 3 is not a setting; did you mean epochs\?"):
        check_params(write_changed_params(tmp_path, "train_full.ephocs", "3"))
    with pytest.raises(MarketplaceError, match=r"trian = 1 is not a setting; did you mean train\?"):
        check_params(write_changed_params(tmp_path, "trian", "1"))


def test_a_schema_that_is_older_than_the_code_is_named_with_the_remedy(tmp_path: Path) -> None:
    class NewTrainSettings(TrainSettings):
        focal_weight: float

    remedy = "run `python -m marketplace.settings`"
    with pytest.raises(MarketplaceError, match=rf"train\.focal_weight = 0\.5 is not a setting; .* {remedy}"):
        load_section("train", NewTrainSettings, write_changed_params(tmp_path, "train.focal_weight", "0.5"))
    with pytest.raises(MarketplaceError, match=rf"model\.backbone = 'novel' is not allowed: .* {remedy}"):
        load_section("train", NewTrainSettings, write_changed_params(tmp_path, "model.backbone", "novel"))
    older = r"params\.schema\.json is older than the code"
    with pytest.raises(MarketplaceError, match=rf"{older} \(train\.focal_weight: Field required\): {remedy}"):
        load_section("train", NewTrainSettings, PARAMS)
    with pytest.raises(MarketplaceError, match=rf"{older} \(new_section\.lr: Field required\): {remedy}"):
        load_section("new_section", NewTrainSettings, PARAMS)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    values = yaml.safe_load(PARAMS.read_text())
    values["train"]["lr"] = 2
    del values["train"]["select"], values["train"]["seed"], values["extract"]
    with pytest.raises(MarketplaceError) as caught:
        check_params(write_params(tmp_path, yaml.safe_dump(values)))
    for message in ("train.lr = 2", "train.select is missing; train.seed is missing", "extract is missing"):
        assert str(caught.value).count(message) == 1


def test_a_missing_key_broken_yaml_and_a_missing_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    with pytest.raises(MarketplaceError, match=r"there is no .*params\.yaml.* repository's root"):
        check_params(path)
    for text, message in (
        ("train: [", "not valid YAML"),
        (PARAMS.read_text().replace("  select: ", "  # select: "), r"train\.select is missing"),
        ("", "the file = None is not allowed: it must be a section with keys"),
    ):
        with pytest.raises(MarketplaceError, match=message):
            check_params(write_params(tmp_path, text))


def test_a_fraction_of_zero_is_no_whole_number(tmp_path: Path) -> None:
    """JSON Schema itself says that it is one."""
    with pytest.raises(MarketplaceError, match=r"train\.batch_size = 16\.0 is not allowed: it must be a whole number"):
        load_section("train", TrainSettings, write_changed_params(tmp_path, "train.batch_size", "16.0"))


def test_the_whole_file_matches_the_models() -> None:
    assert load_settings(PARAMS).model_dump() == check_params(PARAMS)


def test_the_committed_schema_matches_the_models() -> None:
    assert (ROOT / SCHEMA).read_text() == schema_text(), "run `python -m marketplace.settings`"
    assert PARAMS.read_text().startswith(f"# yaml-language-server: $schema={SCHEMA}\n")


def test_settings_allow_exactly_the_backbones_that_exist() -> None:
    allowed = ModelSettings.model_json_schema()["properties"]["backbone"]["enum"]
    assert allowed == list(BACKBONES)


def test_every_key_of_the_real_file_is_explained() -> None:
    keys = [line for line in PARAMS.read_text().splitlines() if line.startswith("  ") and not line.endswith(":")]
    bare = [line for line in keys if "#" not in line]
    # Their section or neighbour already explains these.
    assert [line.split(":")[0].strip() for line in bare] == [
        "seed",
        "port",
        "user",
        "seed",
        "seed",
    ]
