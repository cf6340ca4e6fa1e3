"""The effect of a change, and the origin of a file, read from Git's history and dvc.lock.

`comparison` puts two `revisions` side by side, `changes` finds what differs, `verdicts` decides what matters given the
`noise`, `markdown` writes it down; `lock` checks that dvc.lock is up to date, `lineage` finds where a file came from.
"""
