"""One package a vendor; none of them knows another."""
