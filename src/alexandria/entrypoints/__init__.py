"""Where a person or a program comes in; the only place that names a port and an adapter together."""
