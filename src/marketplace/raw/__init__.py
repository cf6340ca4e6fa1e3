"""The dump as it arrives: tables of text, photos in shards, and the record of rows and files that are left out."""
