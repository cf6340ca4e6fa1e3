"""What a change does, and where a file came from, read from Git's history and dvc.lock.

`comparison` puts two `revisions` side by side, `changes` finds what differs, `verdicts` says what matters given the
`noise`, `page` writes it as Markdown; `lock` tells whether dvc.lock is true, `lineage` where a file came from.
"""
