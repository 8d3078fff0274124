"""README's commands and continuous integration say the same."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def shell_blocks() -> list[str]:
    return re.findall(r"```bash\n(.*?)\n```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def test_readme_begins_with_two_commands_of_one_line() -> None:
    compare, tests = shell_blocks()[:2]
    assert compare.count("\n") == tests.count("\n") == 0
    assert compare.endswith("-m suite compare --methods mtr,tome")
    assert tests.endswith("tox")


def test_ci_runs_readmes_test_command_word_for_word() -> None:
    assert shell_blocks()[1] in (ROOT / ".ci" / "run").read_text().splitlines()
