"""Catalog and vectors in PostgreSQL."""
