"""The dump as it arrives: tables read as text, photos packed into shards, and the record of what is left out."""
