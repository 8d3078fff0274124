"""Methods in files: what cannot be run, or is no method."""

from collections.abc import Callable
from pathlib import Path

from bad import Bad, written

LINE = "plan --images 3 --methods ROOT/m.py:MINE"
HEAD = "from methods.base import Method, Option, composed\n"


def _file(text: str) -> Callable[[Path], object]:
    return written("m.py", HEAD + text)


def _method(build: str, more: str = "") -> str:
    return f"MINE = Method('mine', 'Mine', 'pruning', 'About.', {build}{more})\n"


CASES: list[tuple[str, str, str]] = [
    (
        "no such name",
        "OTHER = 1",
        "'MINE' of .* is not a methods.Method: name a variable that holds one",
    ),
    ("a number", "MINE = 3", "is not a methods.Method: name a variable"),
    ("a class", "MINE = Method", "is not a methods.Method: name a variable"),
    ("no Python", "def (:\n", r"cannot be run \(SyntaxError.*: mend it"),
    (
        "a missing module",
        "import nowhere_at_all",
        r"cannot be run \(ModuleNotFoundError.*: mend it",
    ),
    ("an error", "1 / 0", r"cannot be run \(ZeroDivisionError: division by zero\): mend it"),
    (
        "an error of many lines",
        "raise ValueError('a\\nb\\nc' * 300)",
        r"cannot be run \(ValueError: a b ca.*: mend it",
    ),
    (
        "an error with escapes",
        "raise ValueError('\\x1b[2J')",
        r"cannot be run \(ValueError: \\x1b\[2J\): mend it",
    ),
    ("an end", "raise SystemExit(0)", r"cannot be run \(SystemExit: 0\): mend it"),
    (
        "an exit by sys",
        "import sys; sys.exit('bye')",
        r"cannot be run \(SystemExit: bye\): mend it",
    ),
    ("no memory", "raise MemoryError", r"cannot be run \(MemoryError: \): mend it"),
    ("a depth", "def f():\n    f()\nf()\n", r"cannot be run \(RecursionError.*: mend it"),
    ("a contradiction", _method("None"), r"cannot be run \(ValueError: .*: mend it"),
    (
        "an unknown family",
        "MINE = Method('m', 'M', 'pruner', '', None, kind='none')",
        "cannot be run.*: mend it",
    ),
    (
        "an unknown score",
        _method("lambda: composed(matching='lowest', score='nrom')"),
        r"cannot be built \(KeyError: 'nrom'\): mend it",
    ),
    ("a part missing", _method("lambda: composed(matching='lowest')"), "give a score"),
    ("a builder that breaks", _method("lambda: 1 / 0"), "ZeroDivisionError.*: mend it"),
    (
        "a builder of another kind",
        _method("lambda: 7"),
        "cannot be built .*gave a int, no Composition.*: mend it",
    ),
    (
        "a builder with an argument",
        _method("lambda x: composed(matching='spaced')"),
        "TypeError.*: mend it",
    ),
]
ROWS = [
    *(Bad(f"method file: {what}", LINE, says, _file(text)) for what, text, says in CASES),
    Bad("method file: not there", LINE, "there is no file .*m.py: give the path"),
    Bad(
        "method file: a folder",
        LINE,
        "there is no file .*m.py: give the path",
        lambda root: (root / "m.py").mkdir(),
    ),
    Bad(
        "method file: bytes",
        LINE,
        r"cannot be run \(SyntaxError.*: mend it",
        written("m.py", b"\xff\xfe\x00"),
    ),
    Bad(
        "method file: zero bytes",
        LINE,
        r"cannot be run \((SyntaxError|ValueError).*: mend it",
        written("m.py", b"\0" * 9),
    ),
    Bad(
        "method file: no name",
        "plan --images 3 --methods ROOT/m.py:",
        "is not a methods.Method|write",
        _file("MINE = 1"),
    ),
    Bad(
        "method file: an option it has not",
        "plan --images 3 --methods 'ROOT/m.py:MINE[order=x]'",
        "has no option 'order': it has none",
        _file(_method("lambda: composed(matching='spaced')")),
    ),
    Bad(
        "verify: a file that breaks",
        "verify --method ROOT/m.py:MINE",
        "ZeroDivisionError.*: mend it",
        _file("1 / 0"),
    ),
    Bad(
        "verify: no method",
        "verify --method ROOT/m.py:MINE",
        "is not a methods.Method: name",
        _file("MINE = 1"),
    ),
]
