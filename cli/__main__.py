"""`python -m breakfix.cli` is the command `breakfix`."""

from . import main

main()
