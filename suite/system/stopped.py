"""A run that ends before it is done, through no mistake of the user's."""

from __future__ import annotations


class StoppedError(Exception):
    """Its text says why and how to go on."""
