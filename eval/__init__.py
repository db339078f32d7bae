"""Measures an artifact: suites ask, a judge reads, statistics say how sure we are. It changes nothing it measures."""
