"""``python -m cvkit`` is ``cvkit``."""

from cvkit.cli.main import main

if __name__ == "__main__":
    main()
