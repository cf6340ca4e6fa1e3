"""The effect of a change and the origin of a file, read from Git's history and dvc.lock.

`comparison` compares two `revisions`: `changes` finds their differences, `verdicts` judges their metrics given the
`noise`, and `markdown` writes the review. `lock` checks that dvc.lock is up to date, `lineage` finds where a file came
from.
"""
