"""``python -m suite`` and the ``mamba-token-suite`` command."""

from __future__ import annotations

import os
import sys

from suite.system.encoding import never_fail_to_print
from suite.system.installation import prefer_own_packages
from suite.system.openmp import limit_spinning


def main() -> None:
    """Run the command line, with our own packages and no others of the same names."""
    never_fail_to_print()
    problem = prefer_own_packages()
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    limit_spinning(os.environ)
    from suite.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
