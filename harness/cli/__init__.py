"""The command line. `main` is the door: it turns errors into one message and the exit code of their kind."""

from __future__ import annotations

import logging
import sys


def main() -> None:
    """Run the command line and exit with the code of what happened (`harness --help` lists them)."""
    from harness.cli.app import app
    from harness.errors import HarnessError

    # Where HOME cannot be written, matplotlib would say at length that it keeps its cache elsewhere.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        app()
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("harness: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # `harness status | head` closes our stdout; that is no fault of anybody's.
        sys.stderr.close()
        sys.exit(0)
