"""Methods, backbones and data sets in files: what cannot be run, or is no such thing."""

from collections.abc import Callable
from pathlib import Path

from bad import Bad, written

LINE = "plan --images 3 --methods ROOT/m.py:MINE"
NET = "plan --images 3 --checkpoint random --backbones ROOT/m.py:NET"
HEAD = "from methods.base import Method, Option, composed\n"


def _file(text: str) -> Callable[[Path], object]:
    return written("m.py", HEAD + text)


def _method(build: str, more: str = "") -> str:
    return f"MINE = Method('mine', 'Mine', 'pruning', 'About.', {build}{more})\n"


CASES: list[tuple[str, str, str]] = [
    (
        "no such name",
        "OTHER = 1",
        "m.py has no 'MINE': name a variable that it has",
    ),
    ("a number", "MINE = 3", "is not a methods.Method: name a variable"),
    ("a class", "MINE = Method", "is not a methods.Method: name a variable"),
    ("no Python", "def (:\n", r"cannot be run \(SyntaxError.*: correct (it|the file)"),
    (
        "a missing module",
        "import nowhere_at_all",
        r"cannot be run \(ModuleNotFoundError.*: correct (it|the file)",
    ),
    (
        "an error",
        "1 / 0",
        r"cannot be run \(ZeroDivisionError: division by zero.*\): correct (it|the file)",
    ),
    (
        "an error of many lines",
        "raise ValueError('a\\nb\\nc' * 300)",
        r"cannot be run \(ValueError: a b ca.*: correct (it|the file)",
    ),
    (
        "an error with escapes",
        "raise ValueError('\\x1b[2J')",
        r"cannot be run \(ValueError: \\x1b\[2J.*\): correct (it|the file)",
    ),
    ("an end", "raise SystemExit(0)", r"cannot be run \(SystemExit: 0.*\): correct (it|the file)"),
    (
        "an exit by sys",
        "import sys; sys.exit('bye')",
        r"cannot be run \(SystemExit: bye.*\): correct (it|the file)",
    ),
    ("no memory", "raise MemoryError", r"cannot be run \(MemoryError.*\): correct (it|the file)"),
    (
        "a depth",
        "def f():\n    f()\nf()\n",
        r"cannot be run \(RecursionError.*: correct (it|the file)",
    ),
    ("a contradiction", _method("None"), r"cannot be run \(ValueError: .*: correct (it|the file)"),
    (
        "an unknown family",
        "MINE = Method('m', 'M', 'pruner', '', None, kind='none')",
        "cannot be run.*: correct (it|the file)",
    ),
    (
        "an unknown score",
        _method("lambda: composed(matching='lowest', score='nrom')"),
        "there is no score 'nrom': did you mean norm",
    ),
    ("a part missing", _method("lambda: composed(matching='lowest')"), "give a score"),
    (
        "a builder that breaks",
        _method("lambda: 1 / 0"),
        "ZeroDivisionError.*: correct (it|the file)",
    ),
    (
        "a builder of another kind",
        _method("lambda: 7"),
        "cannot be built .*gave a int, no Composition.*: correct (it|the file)",
    ),
    (
        "a builder with an argument",
        _method("lambda x: composed(matching='spaced')"),
        "TypeError.*: correct (it|the file)",
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
        r"cannot be run \((SyntaxError|ValueError).*: correct (it|the file)",
        written("m.py", b"\xff\xfe\x00"),
    ),
    Bad(
        "method file: zero bytes",
        LINE,
        r"cannot be run \((SyntaxError|ValueError).*: correct (it|the file)",
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
        "has no option 'order': known: undo",
        _file(_method("lambda: composed(matching='spaced')")),
    ),
    *(
        Bad(f"backbone file: {what}", NET, says, _file(text))
        for what, text, says in (
            ("no such name", "NIT = 1", "m.py has no 'NET': did you mean NIT"),
            ("a number", "NET = 1", r"'NET' \(.*m.py\) is a int: give a function that returns a"),
            (
                "another thing",
                "class NET:\n    pass",
                "makes a NET: give a function that returns a backbones.base",
            ),
            (
                "an error",
                "def NET():\n    return [][1]",
                r"cannot be made \(IndexError: .* \(m.py:3, in NET\)\): correct the file",
            ),
            (
                "an end",
                "def NET():\n    raise SystemExit(3)",
                r"cannot be made \(SystemExit: 3 \(m.py:3, in NET\)\): correct the file",
            ),
        )
    ),
    Bad(
        "backbone file: a setting it has not",
        "plan --images 3 --checkpoint random --backbones 'ROOT/m.py:NET[depth=2]'",
        r"cannot be made from these settings \(.*'depth'\): give those that its function takes",
        _file("def NET(width=3):\n    return 1"),
    ),
    Bad(
        "backbone file: no weights",
        "plan --images 3 --backbones ROOT/m.py:NET",
        "no weights of NET are beside its file: put them at .*NET.safetensors, give a file",
        _file(
            "from backbones import create_model\ndef NET():\n    return create_model('vim_nano')"
        ),
    ),
    Bad(
        "backbone file: a name for two",
        "plan --images 3 --checkpoint random --backbones vim_nano=ROOT/m.py:NET",
        "two backbones are called 'vim_nano': give each a name of its own",
        _file("NET = 1"),
    ),
    Bad(
        "verify: a backbone that breaks",
        "verify --backbone ROOT/m.py:NET",
        r"cannot be made \(ZeroDivisionError: .*\(m.py:2, in <lambda>\)\): correct the file",
        _file("NET = lambda: 1 / 0"),
    ),
    *(
        Bad(f"data file: {what}", "plan --images 3 --data ROOT/m.py:DATA", says, _file(text))
        for what, text, says in (
            ("a number", "DATA = 1", r"'DATA' \(.*m.py\) is no function but of type int: give a"),
            ("another thing", "DATA = str", "opens as str, not as a suite.data.base.Dataset: corr"),
            (
                "an error",
                "def DATA(request):\n    return {}['x']",
                r"cannot be opened \(KeyError: 'x' \(m.py:3, in DATA\)\): correct the file",
            ),
        )
    ),
    Bad(
        "data file: no name",
        "plan --images 3 --data ROOT/m.py",
        "m.py' is a file: write .*m.py:NAME, NAME being a variable in it",
        _file("DATA = 1"),
    ),
    Bad(
        "verify: a file that breaks",
        "verify --method ROOT/m.py:MINE",
        "ZeroDivisionError.*: correct (it|the file)",
        _file("1 / 0"),
    ),
    Bad(
        "verify: no method",
        "verify --method ROOT/m.py:MINE",
        "is not a methods.Method: name",
        _file("MINE = 1"),
    ),
]
