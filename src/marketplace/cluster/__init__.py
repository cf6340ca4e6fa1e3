"""Where work runs: this machine or a Dask cluster. Results are the same bytes, so no stage depends on this package."""
