"""Configuration files: `--config` of a comparison, and the spec.yaml of a run to be resumed."""

import os
from pathlib import Path

from bad import MINI, Bad, written

NEXT = "plan --config ROOT/c.yaml"


def _config(what: str, content: bytes | str, says: str) -> Bad:
    return Bad(f"config: {what}", NEXT, says, written("c.yaml", content))


def laughs(levels: int = 30) -> str:
    """Thirty lines that stand for ten to the thirty words."""
    lines = ["a0: &a0 [lol]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)
    ]
    return "\n".join(lines)


def _pipe(root: Path) -> None:
    os.mkfifo(root / "c.yaml")


def _loop(root: Path) -> None:
    (root / "c.yaml").symlink_to("c.yaml")


def _zeros(root: Path) -> None:
    (root / "c.yaml").symlink_to("/dev/zero")


VALUES = [
    ("backbones", "vim_nano", "must be a list"),
    ("backbones", "[]", "name at least one"),
    ("backbones", "[1]", "must be a text"),
    ("backbones", "{a: b}", "must be a list"),
    ("checkpoint", "[a]", "must be a text"),
    ("checkpoint", "null", "must be a text"),
    ("data", "7", "must be a text"),
    ("split", "true", "must be a text"),
    ("source", "[x]", "must be a text"),
    ("views", "4", "must be a text"),
    ("images", "0", "a whole number from 1 on, or 'all'"),
    ("images", "-1", "a whole number from 1 on, or 'all'"),
    ("images", "2.5", "a whole number from 1 on, or 'all'"),
    ("images", "some", "a whole number from 1 on, or 'all'"),
    ("images", "[1, 2]", "a whole number from 1 on, or 'all'"),
    ("images", ".nan", "a whole number from 1 on, or 'all'"),
    ("methods", "mtr", "must be a list"),
    ("methods", "[mtr, 3]", r"methods\.1: must be a text"),
    ("methods", "[[mtr]]", r"methods\.0: must be a text"),
    ("methods", "[mtrr]", "did you mean mtr"),
    ("methods", "['mtr[ordr=score]']", "did you mean order"),
    ("methods", "null", "must be a list"),
    ("axes", "order", "must be a list"),
    ("axes", "[ordr]", "did you mean order"),
    ("baselines", "maybe", "must be a valid boolean"),
    ("budgets", "0.4", "must be a list"),
    (
        "budgets",
        "[0.4, 40]",
        r"budgets\.1: a budget is a share of the FLOPs .* write 0\.4 for 40 %",
    ),
    ("budgets", "[.nan]", r"budgets\.0: a budget is a share"),
    ("budgets", "[.inf]", r"budgets\.0: a budget is a share"),
    ("budgets", "[half]", "must be a valid number"),
    ("budgets", "[-0.1]", "a budget is a share"),
    ("protocol", "fair", "must be 'matched', 'tokens' or 'paper'"),
    ("sites", "3", "must be a list"),
    ("sites", "[two]", "must be a valid integer"),
    ("sites", "[2.5]", "must be a valid integer"),
    ("sites", "[99]", "do not fit vim_nano: name different ones"),
    ("schedule", "fallin", "did you mean falling"),
    ("flops_convention", "mac", "must be 'flops', 'macs' or 'paper'"),
    ("seeds", "0", "greater than or equal to 1"),
    ("seeds", "101", "less than or equal to 100"),
    ("seeds", "many", "must be a valid integer"),
    ("batch_size", "0", "greater than or equal to 1"),
    ("batch_size", "1e400", "must be a"),
    ("shard_size", "-2", "greater than or equal to 1"),
    ("gallery", "65", "at most 64 images"),
    ("gallery", "[x]", "must be a valid integer"),
    ("gallery", "[5000]", "image 5000 is not among"),
    ("device", "tpu", "must be 'auto', 'cpu' or 'cuda'"),
    ("precision", "int8", "must be 'fp32', 'tf32', 'fp64' or 'bf16'"),
    ("kernel", "fast", "must be 'auto', 'reference'"),
    ("threads", "-1", "greater than or equal to 0"),
    ("threads", "4096", "use --threads"),
    ("schema", "5", "must be 4"),
]
TEXTS: list[tuple[str, bytes | str, str]] = [
    ("an unknown key", "budget: [0.4]", "unknown setting 'budget': did you mean budgets"),
    ("a key of nothing known", "zzz: 1", "unknown setting 'zzz': known: across_schedules, axes"),
    (
        "a key given twice",
        "seeds: 1\nseeds: 2",
        "line 2: 'seeds' given twice, keep one|line 1: 'seeds' given twice, keep one.*fix it",
    ),
    ("a key given twice further in", "sites: [{a: 1, a: 2}]", "'a' given twice, keep one"),
    ("a billion laughs", laughs(), "line 2: an alias, write the value out"),
    ("an alias", "a: &x 1\nb: *x", "an alias, write the value out"),
    ("a merge key", "a: &x {b: 1}\nc: {<<: *x}", "an alias"),
    ("a list", "- 1\n- 2", "it must be a mapping of settings"),
    ("a word", "mtr", "it must be a mapping of settings"),
    ("nothing", "", "it must be a mapping of settings"),
    ("keys that are numbers", "1: 2", "it must be a mapping of settings"),
    ("no YAML", "a: [", "expected the node content.*fix it"),
    ("tabs", "a:\n\t- b", "cannot start any token.*fix it"),
    ("an unclosed text", "methods: ['mtr", "unexpected end.*fix it"),
    (
        "code",
        "!!python/object/apply:os.system ['touch owned']",
        "no plain value, leave out the tag",
    ),
    ("code as a value", "methods: !!python/name:os.system", "no plain value, leave out the tag"),
    (
        "code as a key",
        "? !!python/object/new:os.system [touch owned]\n: 1",
        "no plain value, leave out the tag",
    ),
    ("a module", "methods: !!python/module:os", "no plain value, leave out the tag"),
    ("a tag of its own", "seeds: !count 3", "no plain value, leave out the tag"),
    ("a depth", "a: " + "[" * 1_000, "nested too deep.*fix it"),
    ("a depth of mappings", "{a: " * 1_000, "nested too deep.*fix it"),
    ("an endless number", "seeds: " + "9" * 5_000, "a number of too many digits.*fix it"),
    ("a date that is none", "split: 2001-99-99", "month must be in.*fix it"),
    ("a date by name alone", "!!timestamp soon", "cannot be read.*fix it"),
    ("a date", "split: 2001-09-09", "must be a text"),
    ("bytes", b"\xff\xfe\x00s\x00", "not UTF-8 at byte 0.*fix it"),
    ("a zero byte", b"split: 'a\x00b'", "special characters are not allowed.*fix it"),
    ("escapes", b"split: '\x1b[2J'", "special characters are not allowed.*fix it"),
    ("two documents", "seeds: 1\n---\nseeds: 2", "found another document.*fix it"),
    ("a list as a key", "? [a, b]\n: 1", "line 1: found unhashable key.*fix it"),
    ("too much", "# " + "x" * 1_100_000, "more than 1024 kB.*fix it"),
    (
        "another command's",
        "schema: 4\nkind: bench",
        "specification of another command's run: choose another",
    ),
    ("an unknown backbone", "backbones: [vim_tin]", "did you mean vim_tiny"),
    ("a right-to-left key", "'a\\u202eb': 1", r"unknown setting 'a\\u202eb': "),
]

ROWS = [
    *(_config(f"{key}: {value}", f"{key}: {value}", says) for key, value, says in VALUES),
    *(_config(what, content, says) for what, content, says in TEXTS),
    Bad("config: a folder", "plan --config ROOT", "a folder or a device.*give another"),
    Bad("config: nothing there", "plan --config ROOT/c.yaml", "no such file.*give another"),
    Bad("config: a pipe", NEXT, "a folder or a device.*give another", _pipe),
    Bad(
        "config: a link to itself",
        NEXT,
        "(no such file|levels of symbolic links).*give another",
        _loop,
    ),
    Bad("config: a device", NEXT, "a folder or a device.*give another", _zeros),
    Bad(
        "spec: of other settings",
        f"compare {MINI} --methods mtr --runs ROOT --name r",
        "holds a run with other settings: choose another folder",
        written("r/spec.yaml", "schema: 4\nseeds: 9\n"),
    ),
    Bad(
        "spec: damaged",
        f"compare {MINI} --methods mtr --runs ROOT --name r",
        "spec.yaml cannot be read.*fix it",
        written("r/spec.yaml", "a: ["),
    ),
    Bad(
        "spec: foreign folder",
        f"compare {MINI} --methods mtr --runs ROOT --name r",
        "not empty and holds no run: choose another folder",
        written("r/thesis.tex", "years of work"),
    ),
    Bad(
        "spec: code",
        f"compare {MINI} --methods mtr --runs ROOT --name r",
        "no plain value, leave out the tag",
        written("r/spec.yaml", "!!python/object/apply:os.system ['touch owned']"),
    ),
]
