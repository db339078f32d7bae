"""A guarded chat at a terminal: what is typed, what is shown, and the commands between."""
