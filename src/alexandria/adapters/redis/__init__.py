"""Adapters to a server that speaks Redis: queue and board as Lua scripts, and the way to it over TCP."""
