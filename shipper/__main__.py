"""The command `shipper`, also as `python -m shipper`."""

import sys

from .hangup import await_hangup


def main() -> int:
    """Run the command with the arguments of the process; gives the exit code."""
    # What follows takes a while, and whoever has written the files may ask for a reload by then.
    await_hangup()
    from .cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
