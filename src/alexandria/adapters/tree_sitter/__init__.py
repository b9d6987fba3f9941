"""Imports of source files by tree-sitter, parsed in worker processes of our own.

- `reading`: one file's bytes → its facts; the language modules hold one query each.
- `worker`: the program of a worker process; `pool` starts, feeds, replaces and ends them.
- `wire`: the frames between the two.
- `parser`: the adapter of the port.
"""
