"""Revisions of the databases' tables. ``infra.database.versions`` applies them; docs/operations.md says how one is added."""
