"""The command `wildhoi`, also `python -m wildhoi`."""

import sys

from wildhoi.errors import INTERRUPTED


def main() -> None:
    """Run the command line, and stop without a traceback where Ctrl-C comes while its modules are still being read."""
    try:
        from wildhoi.cli import main as run_command

        run_command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
