"""Durable state: one database per actor, one writer per process."""
