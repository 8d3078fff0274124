"""Static figures as the page has them: inside it, with links to their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from reports.inline_svg import inline
from reports.run import Row

FORMS = ("png", "svg")


@dataclass(frozen=True)
class Figures:
    """The figures of a report by name.

    ``svgs``     files as matplotlib wrote them
    ``colours``  the page's variables for their colours
    ``printed``  names of those that have a PDF, too
    """

    svgs: Mapping[str, bytes]
    colours: Mapping[str, str]
    printed: frozenset[str] = field(default_factory=frozenset)

    def inline(self, name: str, words: str) -> Markup:
        """Return a figure as an element of the page; `words` say what it shows."""
        return inline(self.svgs[name], name, words, self.colours)

    @property
    def links(self) -> dict[str, list[Row]]:
        """Links to the files of each figure, relative to the page; a PDF is one for a paper."""
        links = {}
        for name in self.svgs:
            forms = [{"name": form.upper(), "href": f"figures/{name}.{form}"} for form in FORMS]
            if name in self.printed:
                forms.append({"name": "PDF", "href": f"paper/{name}.pdf"})
            links[name] = forms
        return links
