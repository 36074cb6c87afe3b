"""Run the command line with ``python -m cvkit``."""

from cvkit.cli.main import main

if __name__ == "__main__":
    main()
