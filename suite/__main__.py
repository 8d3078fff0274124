"""``python -m suite`` and the ``mamba-token-suite`` command."""

from __future__ import annotations

import sys

from suite.installation import secure


def main() -> None:
    """Run the command line, with our own packages and no others of the same names."""
    problem = secure()
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    from suite.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
