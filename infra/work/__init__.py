"""Work: a job's row, its lease, and the process that does what is heavy."""
