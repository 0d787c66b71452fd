"""`python -m streaming` is the command `beforehand`."""

from streaming.cli import main

if __name__ == "__main__":
    main()
