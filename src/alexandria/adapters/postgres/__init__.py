"""Catalog and vectors in PostgreSQL; the vectors need the extension pgvector."""
