"""What the domain needs from the world: one module a port, with its Protocol, values and errors."""
