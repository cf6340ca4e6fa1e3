"""Tables of vectors and the search for near ones; no network is needed to read them."""
