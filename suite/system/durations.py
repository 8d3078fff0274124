"""Lengths of time in words, as estimates, plans and progress tell them."""

from __future__ import annotations

MINUTE, HOUR = 60.0, 3600.0
LONG = 2 * HOUR  # from here on minutes are more than anybody reads


def duration(seconds: float) -> str:
    """``45 s`` below a minute, ``2 minutes`` above, ``2.5 hours`` from two hours on."""
    if round(seconds) < MINUTE:
        return f"{round(seconds)} s"
    minutes = round(seconds / MINUTE)
    if minutes * MINUTE < LONG:
        return "1 minute" if minutes == 1 else f"{minutes} minutes"
    return f"{seconds / HOUR:.3g} hours" if seconds < 10 * HOUR else f"{seconds / HOUR:.0f} hours"
