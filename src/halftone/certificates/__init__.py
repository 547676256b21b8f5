"""Certificates of releases: what was promised to the people in a table, signed, and checked against the file and the log."""
