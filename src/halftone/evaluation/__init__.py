"""How close a synthetic table comes to a real one: every figure with its floor and its ceiling. Reads raw rows: for curators."""
