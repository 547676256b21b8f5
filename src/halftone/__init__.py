"""Halftone's library: tables, privacy, synthesis, evaluation, Merkle trees. No bus, no server, no database."""
