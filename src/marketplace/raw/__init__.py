"""The dump as it arrives: tables read as text, photos packed into shards, and a process pool to work on them."""
