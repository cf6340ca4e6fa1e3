"""The exceptions whose text is for the user."""


class MarketplaceError(Exception):
    """An error that the user can fix: one sentence, shown without a traceback, with the problem, place and remedy."""


class UnavailableError(MarketplaceError):
    """A temporary failure: the same request may succeed later."""


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its type if it has none: libraries like to add pages."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
