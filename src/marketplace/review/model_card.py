"""The model card: what the models are, what they were made from, how good they are, and where they came from."""

from pathlib import Path
from typing import Any

import jinja2

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import replacing
from marketplace.recommendation.fingerprints import IMAGE_MODEL, TRAINING_DATA
from marketplace.review.files import COUNTS, NOISE, PER_CATEGORY, SUMMARY, TRAINING
from marketplace.review.lock import hashes, training_data_hash
from marketplace.review.markdown import escaped
from marketplace.review.noise import band_of
from marketplace.review.revisions import WORKSPACE, Revision, git

TEMPLATES = Path(__file__).parent / "templates"
NAMED = (IMAGE_MODEL, "models/full.pt", "models/pretrained.pt", TRAINING_DATA)


def write_model_card(root: Path, path: Path) -> None:
    """Write the card of the models in the working tree. Raises MarketplaceError if the pipeline has not run."""
    card = _filled(Revision.of(root, WORKSPACE))
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as part:
        part.write_text(card, encoding="utf-8")


def _filled(tree: Revision) -> str:
    needed = {
        "counts": COUNTS,
        "summary": SUMMARY,
        "categories": PER_CATEGORY,
        "trained": TRAINING,
    }
    values = {name: tree.json(file) for name, file in needed.items()}
    missing = [needed[name] for name, value in values.items() if not value]
    if missing:
        raise MarketplaceError(f"{', '.join(missing)} is missing or empty: run `dvc repro` first.")
    noise = tree.json(NOISE)
    metrics = [
        {"name": name, "value": value, "band": band_of(noise, name) if noise else None}
        for name, value in values["summary"].items()
    ]
    written = {file: md5 for entry in tree.stages.values() for file, md5 in hashes(entry, "outs").items()}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown; names of categories are cleaned text
        keep_trailing_newline=True,
    )
    environment.filters["escaped"] = escaped
    return environment.get_template("model_card.md").render(
        params=tree.yaml("params.yaml"),
        counts=values["counts"],
        best=values["trained"]["best"],
        metrics=metrics,
        foreign_noise=bool(noise) and noise["training_data"] != training_data_hash(tree.stages),
        categories=values["categories"],
        weakest=min(values["categories"], key=lambda row: (row["recall"], row["category"])),
        commit=_commit(tree.root),
        files={file: written[file] for file in NAMED if file in written},
    )


def _commit(root: Path) -> str:
    head = (git(root, "rev-parse", "--short", "HEAD") or "").strip()
    changed: Any = git(root, "status", "--porcelain", "--", "dvc.lock", "params.yaml", "src", "stages")
    return f"`{head}`{', and changes that are not committed' if changed else ''}" if head else "none"
