"""What leaves the program: text that is safe to show, and secrets that are not shown."""
