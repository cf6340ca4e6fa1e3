"""The one exception that stands for a mistake a user can mend."""


class MarketplaceError(Exception):
    """What is wrong, where, and what to do about it, in one sentence fit to be shown without a traceback."""
