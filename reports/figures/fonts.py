"""The font of all figures, and fonts of this machine for letters that it lacks."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable

from matplotlib.font_manager import FontProperties, findSystemFonts, fontManager, get_font
from matplotlib.textpath import text_to_path

FAMILY = "DejaVu Sans"  # that of templates/paper.mplstyle
CHINESE_JAPANESE_KOREAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO")


def inches(words: str, size: float, weight: str = "normal") -> float:
    """The width of a line of text of so many points."""
    font = FontProperties(size=size, weight=weight)
    return max(0.0, text_to_path.get_text_width_height_descent(words, font, False)[0]) / 72


def wrapped(words: str, room: float, size: float, weight: str = "normal") -> str:
    """`words` in lines of at most `room` inches if blanks allow it; its own lines stay."""
    lines = []
    # A number stays with its sign.
    for line in words.replace(" %", "\u00a0%").splitlines():
        taken = ""
        for word in line.split(" "):
            longer = f"{taken} {word}" if taken else word
            if taken and inches(longer, size, weight) > room:
                lines.append(taken)
                longer = word
            taken = longer
        lines.append(taken)
    return "\n".join(lines).replace("\u00a0%", " %")


def families(texts: Iterable[str]) -> list[str]:
    """The families with which these texts are drawn: `FAMILY`, then those for other scripts.

    A line on standard error names the letters that no font of this machine has, and a package.
    """
    lacking = set()
    for letter in set("".join(texts)):
        # Joiners, selectors and blanks are drawn as nothing.
        name: str = unicodedata.name(letter, "")
        if name and unicodedata.category(letter)[0] not in "CZ":
            lacking.add(letter)
    lacking -= _letters(fontManager.findfont(FAMILY))
    found = [FAMILY]
    # Those of Noto first, which are made to be mixed; most machines have few others.
    for path in sorted(findSystemFonts(), key=lambda path: ("Noto" not in path, path)):
        if not lacking:
            break
        here = lacking & _letters(path)
        if here:
            # matplotlib's list of fonts may be older than the font.
            fontManager.addfont(path)
            found.append(get_font(path).family_name)
            lacking -= here
    if lacking:
        print(_advice(lacking), file=sys.stderr)
    return found


def _letters(path: str) -> set[str]:
    """The letters of a font; none if it cannot be scaled, as pictures of smileys cannot."""
    try:
        font = get_font(path)
    except (OSError, RuntimeError):
        return set()
    return set(map(chr, font.get_charmap())) if font.scalable else set()


def _advice(letters: Iterable[str]) -> str:
    scripts = sorted({unicodedata.name(letter).split()[0].split("-")[0] for letter in letters})
    packages = set()
    for script in scripts:
        asian = script in CHINESE_JAPANESE_KOREAN
        packages.add("fonts-noto-cjk" if asian else "fonts-noto-core")
    return (
        f"note: no font here has the {', '.join(scripts)} letters of some names, which figures "
        f"show as boxes: install {' and '.join(sorted(packages))}, and write the report again"
    )
