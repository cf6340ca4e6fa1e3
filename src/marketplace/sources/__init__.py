"""Where a dump comes from, and the transfer that brings it here."""
