"""One run: its session, its checks before, its folder, its status."""
