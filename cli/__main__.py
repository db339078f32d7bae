"""`python -m breakfix.cli` is the command `breakfix`."""

from . import main

if __name__ == "__main__":
    main()
