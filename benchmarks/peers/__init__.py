"""What people enlarge pictures with on a CPU, measured beside `mezzotint-x4`: `python -m benchmarks.peers`.

`table` lists the peers: which pinned files hold their weights, what runs them, what they were trained for. `archives`
fetches the files, `worker` runs one peer in a process of its own, `figures` measures its pictures, `speed` its time and
memory, `page` writes docs/peers.md.
"""
