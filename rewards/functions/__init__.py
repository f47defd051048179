"""A user's own reward function: its file and the modules beside it, what it returns, and what it raises."""
