"""What the parts know of each other: messages, subjects, schema, cost. pydantic only."""
