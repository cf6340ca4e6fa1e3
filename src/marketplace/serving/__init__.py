"""Answers from a finished pipeline: the terminal, the web page and its API."""
