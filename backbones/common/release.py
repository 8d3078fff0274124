"""What the authors of a method or a backbone released, and under which licence.

Nothing of it is part of this suite.
"""

from __future__ import annotations

from dataclasses import dataclass

# What stands in place of a licence's SPDX identifier.
NONE_STATED = "none stated"
UNREAD = "could not be read"


@dataclass(frozen=True)
class Code:
    """Released code; `NO_CODE` where none was found.

    ``repository``  ``owner/name`` on GitHub
    ``licence``     SPDX identifier, or `NONE_STATED`: neither a file nor the README names one
    ``commit``      that was read
    ``note``        on the licence, where it does not stand in a file at the repository's root
    """

    repository: str
    licence: str
    commit: str
    note: str = ""

    @property
    def terms(self) -> str:
        """The licence with its note."""
        return with_note(self.licence, self.note)

    @property
    def text(self) -> str:
        """A paragraph for a card, Markdown."""
        if not self.repository:
            return "**Released code.** No public code was found."
        # No link: the page of a run, where cards are shown, leads nowhere outside.
        return (
            f"**Released code.** github.com/{self.repository}, commit {self.commit}; licence: "
            f"{self.terms}. Nothing of it is part of this suite."
        )


NO_CODE = Code(repository="", licence="", commit="")


@dataclass(frozen=True)
class Weights:
    """Published weights.

    ``places``   their repositories on the Hugging Face Hub, or of releases on GitHub
    ``licence``  SPDX identifier, `NONE_STATED` or `UNREAD`: what the repositories' pages say
    ``note``     on the licence
    """

    places: tuple[str, ...]
    licence: str
    note: str = ""

    @property
    def terms(self) -> str:
        """The licence with its note."""
        return with_note(self.licence, self.note)


@dataclass(frozen=True)
class Release:
    """Code and weights of a family of backbones, each under its own licence."""

    family: str
    code: Code
    weights: Weights


def with_note(licence: str, note: str) -> str:
    """A licence, and in brackets what is to be said of it."""
    return f"{licence} ({note})" if note else licence
