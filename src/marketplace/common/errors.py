"""The exception for mistakes that a user can fix."""


class MarketplaceError(Exception):
    """A mistake in one sentence, shown without a traceback: what is wrong, where, and what to do about it."""


class UnavailableError(MarketplaceError):
    """Something cannot be answered now, but may be later."""


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its type if it has none: libraries like to add pages."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
