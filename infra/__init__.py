"""What everything runs on: bus, database, objects, supervisor, command line."""
