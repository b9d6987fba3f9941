"""Adapters to the machine itself."""
