"""Run work once, on all cores, and find its results again."""
