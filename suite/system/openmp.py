"""How idle threads of OpenMP wait, which must be set before PyTorch loads the library."""

from __future__ import annotations

from collections.abc import MutableMapping

# Turns of a loop before an idle thread sleeps. GNU's OpenMP takes 300,000, which are milliseconds
# (where its own threads outnumber the cores, 100): they are lost whenever another process has a
# core that some thread is waiting for. With one busy process beside it on two cores, the default
# comparison took 75 and 78 s so, and 31 to 47 s with this value; on the quiet machine both take
# 29 to 36 s.
SPINS = "1000"
VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def limit_spinning(environ: MutableMapping[str, str]) -> None:
    """Let idle threads give up their core soon, unless `environ` says how they wait."""
    # Whoever started the process may know better.
    if not any(name in environ for name in VARIABLES):
        environ["GOMP_SPINCOUNT"] = SPINS
