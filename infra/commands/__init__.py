"""Commands, by subject. They speak to a Halftone through its client; what is heavy is imported when a command runs, not before."""
