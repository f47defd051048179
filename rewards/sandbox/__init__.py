"""Child processes in which foreign text and code run."""
