"""``unigrpo doctor``: what this machine has, and whether one policy works on it, check by check."""
