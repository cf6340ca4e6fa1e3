"""The plots page: what `dvc plots show` draws, with everything inside.

DVC's own page loads Vega from the network.
"""

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import vl_convert

from marketplace.common.errors import MarketplaceError
from marketplace.reports.pages import data_url, write_page
from marketplace.review.revisions import WORKSPACE, Revision

TEMPLATE = Path(__file__).parent / "templates" / "plots.html"


@dataclass(frozen=True)
class Plot:
    """A plot: drawn for light and for dark pages, or a photo."""

    title: str
    light: str = ""  # SVG
    dark: str = ""
    photo: str = ""  # a data: URL


def write_plots_page(root: Path, path: Path) -> None:
    """Write the plots of the working tree to a page. Raises MarketplaceError if DVC cannot draw them."""
    titles = Revision.of(root, WORKSPACE).plot_titles
    with tempfile.TemporaryDirectory() as images:
        command = ["dvc", "plots", "show", "--json", "--out", images]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True)
        if done.returncode:
            raise MarketplaceError(f"`dvc plots show` fails: {done.stderr.strip().splitlines()[-1:]}.")
        drawn = json.loads(done.stdout)["data"]
        plots = [_plot(titles.get(name, name), found) for name, parts in drawn.items() for found in parts]
    if not plots:
        raise MarketplaceError("there is nothing to draw: run `dvc repro` first.")
    path.parent.mkdir(exist_ok=True)
    write_page(path, TEMPLATE, plots=plots)


def _plot(title: str, found: dict[str, Any]) -> Plot:
    if found["type"] == "image":
        return Plot(title, photo=data_url(Path(found["url"]).read_bytes()))
    content = {name: value for name, value in found["content"].items() if name not in ("$schema", "title")}
    return Plot(title, light=_svg(content, None), dark=_svg(content, "dark"))


def _svg(content: dict[str, Any], theme: Literal["dark"] | None) -> str:
    config = {"background": "transparent", "font": "system-ui, sans-serif"}
    svg: str = vl_convert.vegalite_to_svg(content, theme=theme, config=config)
    return svg
