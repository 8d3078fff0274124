"""Static figures inside the page: their colours follow the reader's theme.

A figure is drawn once, on white. Its colours become variables of the page, so that it has no
background of its own and the colours of the theme; pixels of pictures and maps stay as they are.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Mapping
from xml.etree import ElementTree

from markupsafe import Markup

from reports import style
from reports.style import Look

SVG = "{http://www.w3.org/2000/svg}"
DROPPED = (f"{SVG}metadata", f"{SVG}style")
XLINK = "{http://www.w3.org/1999/xlink}href"
COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
LINE = re.compile(r"(?<![-\w])(stroke): (#[0-9a-fA-F]{6})\b")
REFERENCE = re.compile(r"url\(#([^)]+)\)")
ON_PIXELS = (style.ON_PALE, style.ON_DARK)
# What colours keep of their lightness in the dark theme: pale lines are quiet in both.
PALE, DEEP = 0.3, 0.85


def pairs(looks: Iterable[Look]) -> dict[str, str]:
    """The variable of the page for each colour that has one."""
    known = {
        style.INK["light"]: "--ink",
        style.SOFT["light"]: "--soft",
        style.GRID["light"]: "--line",
        style.PAPER["light"]: "--paper",
    }
    for index, look in enumerate(looks):
        known.setdefault(look.light, f"--m{index}")
    return known


def inline(svg: bytes, name: str, words: str, known: Mapping[str, str]) -> Markup:
    """Return an SVG file of matplotlib as an element of the page.

    `name` is unique on the page, `words` say what the figure shows, and `known` are the variables
    of colours. Lines of other colours get a counterpart for the dark theme.
    """
    # matplotlib wrote it just now
    root = ElementTree.fromstring(svg)  # noqa: S314
    for parent in root.iter():
        # A style in a drawing would be one of the whole page.
        for child in [one for one in parent if one.tag in DROPPED]:
            parent.remove(child)
    names: set[str] = set()
    for element in root.iter():
        # without its name space, and so as the page's own element
        element.tag = element.tag.removeprefix(SVG)
        own = element.attrib.pop("id", None)
        # matplotlib may define a letter twice
        if own and own not in names:
            names.add(own)
            element.set("id", f"{name}__{own}")
        if link := element.attrib.pop(XLINK, None):
            element.set("href", f"#{name}__{link[1:]}" if link.startswith("#") else link)
        for attribute in ("style", "clip-path"):
            if attribute in element.attrib:
                value = REFERENCE.sub(rf"url(#{name}__\1)", element.attrib[attribute])
                element.set(attribute, _themed(value, known))
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", words)
    # safe: what the tree held is escaped, and matplotlib draws foreign words as outlines
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704


def _themed(text: str, known: Mapping[str, str]) -> str:
    def variable(match: re.Match[str]) -> str:
        colour = match[0].lower()
        return f"var({known[colour]})" if colour in known else colour

    def line(match: re.Match[str]) -> str:
        if match[2] in ON_PIXELS:
            return match[0]
        return f"{match[1]}: light-dark({match[2]}, {dark(match[2])})"

    return LINE.sub(line, COLOUR.sub(variable, text))


def dark(colour: str) -> str:
    """The counterpart of a colour on a dark page: of the same hue, and as far from the page."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    hue, light, full = colorsys.rgb_to_hls(red, green, blue)
    turned = DEEP - (DEEP - PALE) * light
    return "#" + "".join(
        f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, turned, full)
    )
