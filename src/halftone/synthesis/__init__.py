"""Synthetic tables: encoders, engines and the models they fit."""
