"""The plots page: the plots of `dvc plots show` in one file.

DVC's own page loads Vega from the network.
"""

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketplace.common.errors import MarketplaceError
from marketplace.reports.pages import data_url, write_page
from marketplace.review.drawing import Drawing, draw
from marketplace.review.files import TRACKED_PICTURES
from marketplace.review.revisions import WORKSPACE, Revision

TEMPLATE = Path(__file__).parent / "templates" / "plots.html"


@dataclass(frozen=True)
class Plot:
    """A photo or a drawing."""

    title: str
    drawing: Drawing | None = None
    photo: str = ""  # a data: URL


def write_plots_page(root: Path, path: Path) -> None:
    """Write the plots of the working tree to a page. Raises MarketplaceError if DVC cannot draw them."""
    titles = Revision.of(root, WORKSPACE).plot_titles
    with tempfile.TemporaryDirectory() as images:
        renderings = _show_plots(root, images)
        plots = [
            _plot(titles.get(name, name), part)
            for name, parts in renderings.items()
            if Path(name).parent != Path(TRACKED_PICTURES)  # which reviews link to
            for part in parts
        ]
    if not plots:
        raise MarketplaceError("there is nothing to draw: run `dvc repro` first.")
    path.parent.mkdir(exist_ok=True)
    write_page(path, TEMPLATE, plots=plots)


def _show_plots(root: Path, images: str) -> dict[str, list[dict[str, Any]]]:
    """Return the plots that DVC would draw, by the name of the plot; pictures are written to the folder `images`.

    Missing files are left out: a part of the pipeline may not have run. Raises MarketplaceError for any other error.
    """
    command = ["dvc", "plots", "show", "--json", "--out", images]
    process = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if process.returncode:
        reasons = re.findall(r"^ERROR: (.+)", process.stderr, re.MULTILINE) or process.stderr.splitlines()[-1:]
        raise MarketplaceError(f"`dvc plots show` fails: {' '.join(reasons)}.")
    answer = json.loads(process.stdout)
    for error in answer.get("errors", []):
        # DVC takes a folder that is not there for a file of a type that it does not know.
        if error["type"] != "FileNotFoundError" and error.get("source") != TRACKED_PICTURES:
            raise MarketplaceError(
                f"DVC cannot draw the plots: {error['msg']}. Has a merge left conflicts in it? `git status` tells."
            )
    return answer.get("data", {})


def _plot(title: str, rendering: dict[str, Any]) -> Plot:
    if rendering["type"] == "image":
        return Plot(title=title, photo=data_url(Path(rendering["url"]).read_bytes()))
    content = {name: value for name, value in rendering["content"].items() if name not in ("$schema", "title")}
    return Plot(title=title, drawing=draw(content))
