"""Our zero-shot solvers beside those of deepinv, on one prior: `python -m benchmarks.zero_shot_peers`.

`environment` makes the environment that deepinv needs (`requirements.txt`), `cases` lists what is compared, `ours` and
`theirs` run it, `worker` measures in one process of that environment, `page` writes docs/zero-shot-peers.md.
"""
