"""Measures on this machine: a bundle against others in turn, and the guard alone."""
