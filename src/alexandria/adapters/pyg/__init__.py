"""Vectors from the dependency graph, with PyTorch and PyTorch Geometric.

`settings` imports neither of them. `embedder` imports both, which takes 2 to 3 s and about 150 MB; a program imports
it in a thread while it does something else, and never on its way to a process that does not train.
"""
