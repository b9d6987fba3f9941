"""The wiring: one module a mode, imported by name, so that no mode loads what only another needs."""
