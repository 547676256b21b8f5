"""The edge: HTTP in, commands out, views from events."""
