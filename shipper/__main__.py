"""The command `shipper`, also as `python -m shipper`."""

import sys

from .early_signals import take_early_signals


def main() -> int:
    """Run the command with the arguments of the process; gives the exit code."""
    # What follows takes a while: by then whoever has written the files may ask for a reload, or a pod may go.
    take_early_signals()
    from .cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
