"""How the threads of OpenMP wait for each other, decided before PyTorch loads them."""

from __future__ import annotations

from collections.abc import MutableMapping

# Turns of a loop before a thread that waits sleeps. GNU's OpenMP takes 300,000, which are
# milliseconds (where its own threads outnumber the cores, 100): they are lost whenever another
# process holds a core that some thread is waiting for. With one busy process beside it on two
# cores, the default comparison took 75 and 78 s so, and 31 to 47 s with this value; on the quiet
# machine both take 29 to 36 s.
SPINS = "1000"
CHOSEN = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")  # by whoever started the process


def wait_asleep(environ: MutableMapping[str, str]) -> None:
    """Let threads that wait give up their core soon, unless `environ` says how they are to wait."""
    if not any(name in environ for name in CHOSEN):
        environ["GOMP_SPINCOUNT"] = SPINS
