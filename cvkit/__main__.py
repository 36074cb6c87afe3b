"""Start the command line, as ``cvkit`` or as ``python -m cvkit``."""

from cvkit.engine.start_up import START_UP


def main() -> None:
    """Handle signals from the first moment, then import and run the command line."""
    try:
        START_UP.install()
        from cvkit.cli.main import main as run_command_line

        START_UP.ends_at_once = False
        run_command_line()
    except KeyboardInterrupt:
        START_UP.end()


if __name__ == "__main__":
    main()
