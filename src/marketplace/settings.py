"""params.yaml as frozen, typed models: an unknown key, a wrong type or an impossible value is refused by name."""

import difflib
import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from marketplace.errors import MarketplaceError

PARAMS = Path("params.yaml")

Share = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
ImageSize = Annotated[int, Field(ge=32, le=1024)]


class _Section(BaseModel):
    # strict: `epochs: true` is no 1 and `batch_size: "16"` no 16.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SampleSettings(_Section):
    """The marketplace that is drawn: how large, which one, how dirty."""

    products: Count
    seed: Annotated[int, Field(ge=0)]
    defect_rate: Annotated[float, Field(ge=0, le=0.05)]


class LocalSettings(_Section):
    """The folder of a dump that lies on this machine."""

    path: str


class S3Settings(_Section):
    """The dump under a prefix of an S3 bucket."""

    url: str | None
    endpoint_url: str | None


class Ec2Settings(_Section):
    """The dump on a machine reached over SSH, and the S3 address of the private key."""

    host: str | None
    port: Annotated[int, Field(ge=1, le=65535)]
    user: str
    path: str | None
    key: str | None
    known_hosts: str | None
    fingerprint: Annotated[str, Field(pattern="^SHA256:[A-Za-z0-9+/]{43}$")] | None


class FetchSettings(_Section):
    """Where the dump comes from, how much of it, and how it is packed."""

    source: Literal["sample", "local", "s3", "ec2"]
    limit: Count | None
    shards: Annotated[int, Field(ge=1, le=999)]
    sample: SampleSettings
    local: LocalSettings
    s3: S3Settings
    ec2: Ec2Settings


class CleanSettings(_Section):
    """The splits."""

    test: Share
    val: Share
    seed: Annotated[int, Field(ge=0)]


class ResizeSettings(_Section):
    """Pixels a side."""

    small: ImageSize
    full: ImageSize


class ModelSettings(_Section):
    """The network and the weights it starts from."""

    backbone: Literal["efficientnet_lite0", "resnet18", "resnet34", "resnet50"]
    weights: Annotated[str, Field(min_length=1)]


class TrainSettings(_Section):
    """Both trainings."""

    lr: Annotated[float, Field(gt=0, le=1)]
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Count
    flip_probability: Probability
    linear_probe: bool
    classifier: Literal["linear", "cosine"]
    contrastive_weight: Annotated[float, Field(ge=0)]
    temperature: Annotated[float, Field(gt=0)]
    schedule: Literal["constant", "one_cycle"]
    patience: Count | None
    select: Literal["val_accuracy", "val_loss"]
    seed: Annotated[int, Field(ge=0)]
    keep_epochs: bool
    feature_cache_gib: Annotated[float, Field(ge=0)]


class TrainFullSettings(_Section):
    """The training on full-sized images alone."""

    warm_start: bool


class ExtractSettings(_Section):
    """How a photo's vector is made."""

    vectors: Literal["tuned", "untouched", "joined"]
    mirrored: bool
    power: Annotated[float, Field(gt=0, le=1)]
    dimensions: Count | None
    whitening: Probability


class RecommendSettings(_Section):
    """What is recommended, how much of it, and the index for new photos."""

    k: Count
    same_category: bool
    same_location: bool
    price_factor: Annotated[float, Field(ge=1)] | None
    index: Annotated[str, Field(min_length=1)]
    index_search: Annotated[str, Field(min_length=1)] | None


class Settings(_Section):
    """The whole of params.yaml, section by section; what each key means stands in the file itself."""

    fetch: FetchSettings
    clean: CleanSettings
    resize_images: ResizeSettings
    model: ModelSettings
    train: TrainSettings
    train_full: TrainFullSettings
    extract: ExtractSettings
    recommend: RecommendSettings


class _Loader(yaml.SafeLoader):
    """Reads `1e-05`, which is how DVC writes `-S train.lr=1e-5`, as a float; PyYAML itself says string."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))


def load_settings(path: Path = PARAMS) -> Settings:
    """Read and check params.yaml.

    Raises MarketplaceError, one line that names the key, its value and what is allowed.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a SafeLoader, so no code runs
    except FileNotFoundError:
        raise MarketplaceError(f"there is no {path} in {Path.cwd()}: run this from the repository's root.") from None
    except yaml.YAMLError as error:
        raise MarketplaceError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise MarketplaceError(f"{path}: " + "; ".join(_explain(detail) for detail in error.errors())) from None


def _explain(detail: ErrorDetails) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    match detail["type"]:
        case "extra_forbidden":
            return f"{key} = {detail['input']!r} is not a setting; {_allowed(detail['loc'])}"
        case "missing":
            return f"{key} is missing"
        case _:
            allowed = detail["msg"].removeprefix("Input should be ")
            return f"{key or 'the file'} = {detail['input']!r} is not allowed: it must be {allowed}"


def _allowed(location: tuple[int | str, ...]) -> str:
    section: type[BaseModel] = Settings
    for name in location[:-1]:
        section = section.model_fields[str(name)].annotation  # type: ignore[assignment]
    names = list(section.model_fields)
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}known here: {', '.join(names)}"
