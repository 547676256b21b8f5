"""Independent actors: one module each; none imports another."""
