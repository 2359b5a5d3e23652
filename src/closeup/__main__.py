"""``python -m closeup`` is the `closeup` command."""

from closeup.cli import main

if __name__ == "__main__":
    main()
