"""params.yaml, read one section at a time.

A stage loads the sections that it reads, each as a frozen, typed model that is defined next to the code that uses it.
Every stage checks the whole file against params.schema.json first, so that a mistake in any section ends the first
stage that runs. `marketplace.settings` generates that schema from the models.
"""

import difflib
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import jsonschema
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, WithJsonSchema

from marketplace.common.errors import MarketplaceError

PARAMS = Path("params.yaml")
SCHEMA = "params.schema.json"  # next to params.yaml
WRITE_SCHEMA = "run `python -m marketplace.settings`"


class Section(BaseModel):
    """A section of params.yaml."""

    # strict: `epochs: true` is not 1, and `batch_size: "16"` is not 16.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


AnySection = TypeVar("AnySection", bound=Section)


class _Loader(yaml.SafeLoader):
    """Reads `1e-05`, which is how DVC writes `-S train.lr=1e-5`, as a float; PyYAML itself reads a string."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))


def _is_integer(_: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite_number(_: Any, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# As strict as the models: JSON Schema itself takes 1.0 for an integer, and NaN and infinities for numbers.
_TYPE_CHECKER = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
    {"integer": _is_integer, "number": _is_finite_number}
)
_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, type_checker=_TYPE_CHECKER
)


def load_section(name: str, section: type[AnySection], path: Path = PARAMS) -> AnySection:
    """Check all of params.yaml and return one of its sections.

    Raises MarketplaceError: one line with the key, its value and the values it may have.
    """
    values = check_params(path).get(name, {})
    try:
        return section.model_validate(values)
    except ValidationError as error:  # the schema is generated from the models, and is as strict as they are
        first = error.errors()[0]
        key = ".".join(str(part) for part in (name, *first["loc"]))
        raise MarketplaceError(f"{SCHEMA} is older than the code ({key}: {first['msg']}): {WRITE_SCHEMA}.") from None


def check_params(path: Path = PARAMS) -> dict[str, Any]:
    """Read params.yaml, check it against the schema next to it, and return its content.

    Raises MarketplaceError, see `load_section`.
    """
    values = read_params(path)
    schema = json.loads(path.with_name(SCHEMA).read_text(encoding="utf-8"))
    mistakes = list(_Validator(schema).iter_errors(values))
    if mistakes:
        # Each of several missing keys gives the same text, which names them all.
        texts = dict.fromkeys(_explain(mistake) for mistake in mistakes)
        may_be_new = any(mistake.validator in ("additionalProperties", "enum") for mistake in mistakes)
        hint = f" (if the code has just gained it, {WRITE_SCHEMA})" if may_be_new else ""
        raise MarketplaceError(f"{path}: {'; '.join(texts)}{hint}")
    return dict(values)


def read_params(path: Path = PARAMS) -> Any:
    """Return the parsed content of params.yaml. Raises MarketplaceError if it is missing or not valid YAML."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a SafeLoader: no code runs
    except FileNotFoundError:
        raise MarketplaceError(f"there is no {path} in {Path.cwd()}: run this from the repository's root.") from None
    except yaml.YAMLError as error:
        raise MarketplaceError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


def one_of(choices: Iterable[str]) -> Any:
    """Return metadata for an `Annotated[str, one_of(...)]` field that takes only these texts, such as a dict's keys."""
    return WithJsonSchema({"type": "string", "enum": list(choices)})


def _explain(error: jsonschema.ValidationError) -> str:
    """Return an error of the validator in plain words."""
    key = ".".join(str(part) for part in error.absolute_path)
    prefix = f"{key}." if key else ""
    schema: Any = error.schema
    value: Any = error.instance
    match error.validator:
        case "additionalProperties":
            known = list(schema["properties"])
            unknown = [name for name in value if name not in known]
            return "; ".join(_explain_unknown_key(prefix, name, value[name], known) for name in unknown)
        case "required":
            return "; ".join(f"{prefix}{name} is missing" for name in schema["required"] if name not in value)
        case _:
            return f"{key or 'the file'} = {value!r} is not allowed: it must be {_describe(schema)}"


def _explain_unknown_key(prefix: str, name: str, value: Any, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{prefix}{name} = {value!r} is not a setting; {hint}known here: {', '.join(known)}"


_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "greater than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "pattern": "of the form {}",
}
_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
    "object": "a section with keys",
}


def _describe(schema: dict[str, Any]) -> str:
    """Return the values that a schema allows in words: 'a number, greater than 0 and at most 1'."""
    if "anyOf" in schema:
        return " or ".join(_describe(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return _join_choices(schema["enum"])
    bounds = [words.format(schema[name]) for name, words in _BOUNDS.items() if name in schema]
    type_name = _TYPES.get(schema.get("type", "object"), "something else")
    return f"{type_name}, {' and '.join(bounds)}" if bounds else type_name


def _join_choices(choices: list[str]) -> str:
    *others, last = [repr(choice) for choice in choices]
    return f"{', '.join(others)} or {last}" if others else last
