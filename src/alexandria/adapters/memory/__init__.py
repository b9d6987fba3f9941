"""Adapters that keep everything in the memory of one process, and every promise of the ports."""
