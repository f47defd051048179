"""What Linux gives a sandbox. Standard library alone: nothing here imports more of this project than its neighbours."""
