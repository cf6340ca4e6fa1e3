"""Plots as pictures that a page can contain."""

from dataclasses import dataclass
from typing import Any

import vl_convert


@dataclass(frozen=True)
class Drawing:
    """A plot, for light and for dark pages."""

    light: str  # SVG
    dark: str


def draw(specification: dict[str, Any]) -> Drawing:
    """Draw a Vega-Lite specification."""
    config = {"background": "transparent", "font": "system-ui, sans-serif"}
    return Drawing(
        light=vl_convert.vegalite_to_svg(specification, config=config),
        dark=vl_convert.vegalite_to_svg(specification, theme="dark", config=config),
    )
