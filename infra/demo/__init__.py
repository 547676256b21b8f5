"""The demonstration: the whole idea on real data, through the public API alone."""
