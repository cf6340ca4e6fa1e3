"""Texts in Markdown: shown literally, whatever they contain."""

import re

from marketplace.common.console import printable

# GitHub makes mentions, links and pictures of these: @name, #12, GH-12, https://, www., :name:
LINKED = re.compile(r"(@|#|:(?=\S)|(?<![a-z0-9])gh(?=-\d)|www(?=\.))", re.IGNORECASE)
# An underscore between letters formats nothing.
FORMATTING = re.compile(r"([\\`*{}\[\]#+!|<>~$&-]|(?<![^\W_])_|_(?![^\W_]))")


def escape(text: str) -> str:
    """Escape a text, so that Markdown shows it literally and on one line, and it links to nothing and nobody."""
    line = " ".join(printable(text).split())
    return FORMATTING.sub(r"\\\1", LINKED.sub("\\1\N{ZERO WIDTH SPACE}", line))


def code(text: str) -> str:
    """Return a text as code on one line; escaped instead if code cannot show it, not even in a table."""
    line = " ".join(printable(text).split())
    return f"`{line}`" if line and not re.search(r"[`|]", line) else escape(line) or "(empty)"
