"""Queue, status board, catalog and vectors in one SQLite file."""
