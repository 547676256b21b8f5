"""The bus: a NATS server, its streams, and the few ways in which Halftone uses them."""
