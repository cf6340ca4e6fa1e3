"""The exceptions whose text is for the user."""


class MarketplaceError(Exception):
    """An error that the user can fix: one sentence, shown without a traceback, with the problem, place and remedy."""


class UnavailableError(MarketplaceError):
    """A temporary failure: the same request may succeed later.

    `public` is its text without paths and addresses, for strangers; by default, the text has none.
    """

    def __init__(self, text: str, public: str | None = None) -> None:
        super().__init__(text)
        self.public = text if public is None else public


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its type if it has none: libraries like to add pages."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
