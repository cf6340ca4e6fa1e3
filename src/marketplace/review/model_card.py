"""The model card: the purpose of the models, their training data, metrics, limits and lineage."""

from pathlib import Path

import jinja2

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import replacing
from marketplace.recommendation.fingerprints import IMAGE_MODEL, TRAINING_DATA
from marketplace.review.escaping import code, escape
from marketplace.review.files import COUNTS, NOISE, PER_CATEGORY, SUMMARY, TRAINING
from marketplace.review.lock import hashes, training_data_hash
from marketplace.review.noise import noise_band
from marketplace.review.revisions import WORKSPACE, Revision, git

TEMPLATES = Path(__file__).parent / "templates"
CARD_FILES = (IMAGE_MODEL, "models/full.pt", "models/pretrained.pt", TRAINING_DATA)  # with their hashes
INPUTS = ("dvc.lock", "params.yaml", "src", "stages")


def write_model_card(root: Path, path: Path) -> None:
    """Write the card of the models in the working tree. Raises MarketplaceError if the pipeline has not run."""
    card = _render_card(Revision.of(root, WORKSPACE))
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as part:
        part.write_text(card, encoding="utf-8")


def _render_card(tree: Revision) -> str:
    sources = {"counts": COUNTS, "summary": SUMMARY, "categories": PER_CATEGORY, "training": TRAINING}
    values = {name: tree.json(file) for name, file in sources.items()}
    missing = [sources[name] for name, value in values.items() if not value]
    if missing:
        raise MarketplaceError(f"{', '.join(missing)} is missing or empty: run `dvc repro` first.")
    noise = tree.json(NOISE)
    metrics = [
        {"name": name, "value": value, "band": noise_band(noise, name) if noise else None}
        for name, value in values["summary"].items()
    ]
    outputs = {file: md5 for entry in tree.stages.values() for file, md5 in hashes(entry, "outs").items()}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # it is Markdown
        keep_trailing_newline=True,
    )
    environment.filters["escape_markdown"] = escape
    environment.filters["code"] = code
    return environment.get_template("model_card.md").render(
        params=tree.yaml("params.yaml"),
        counts=values["counts"],
        best=values["training"]["best"],
        metrics=metrics,
        foreign_noise=bool(noise) and noise["training_data"] != training_data_hash(tree.stages),
        categories=values["categories"],
        weakest=min(values["categories"], key=lambda row: (row["recall"], row["category"])),
        commit=_describe_commit(tree.root),
        files={file: outputs[file] for file in CARD_FILES if file in outputs},
    )


def _describe_commit(root: Path) -> str:
    head = (git(root, "rev-parse", "--short", "HEAD") or "").strip()
    if not head:
        return "none"
    is_dirty = bool(git(root, "status", "--porcelain", "--", *INPUTS))
    return f"`{head}`, with uncommitted changes" if is_dirty else f"`{head}`"
