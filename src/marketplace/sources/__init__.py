"""The sources of a dump, and its transfer to this machine."""
