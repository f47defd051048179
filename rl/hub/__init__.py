"""Names of repositories on a hub, and what goes wrong with them, in one line."""
