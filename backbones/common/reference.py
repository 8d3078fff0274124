"""The source of a method, a backbone or a data set, in fields from which a bibliography is made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """A publication; what is not known of it is empty.

    ``key``      under which it is cited; unique, and kept when more becomes known
    ``title``    as published
    ``authors``  in their order, ``Surname, Given``
    ``year``     of the venue, else of the preprint
    ``arxiv``    number, such as ``2210.09461``
    ``meeting``  proceedings that it is in
    ``journal``  that it is in
    """

    key: str
    title: str
    authors: tuple[str, ...] = ()
    year: int = 0
    arxiv: str = ""
    meeting: str = ""
    journal: str = ""
