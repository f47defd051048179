"""Side-by-side measurements: ours and a plain implementation of what the field uses, same weights, one process."""
