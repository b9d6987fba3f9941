"""Use cases: one function a verb, ports passed in as arguments."""
