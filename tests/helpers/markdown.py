"""Markdown as a reader sees it."""

from markdown_it import MarkdownIt


def rendered(page: str) -> str:
    """Return a page as HTML, with GitHub's tables."""
    return str(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(page))
