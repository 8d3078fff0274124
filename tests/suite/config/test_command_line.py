"""A command that is printed to be copied is read back as what it was made from."""

import shlex

from suite.cli.spec_options import spec_from_options
from suite.config.command_line import command_line, flag_of
from suite.tune.spec import TuneSpec


def test_a_copied_command_has_the_settings_it_was_made_from() -> None:
    spec = TuneSpec(
        methods=("mtr[score=b,window=3]", "file of mine.py:MINE"),
        backbones=("vim_nano[classes=5]", "vim_pico"),
        checkpoint="/a b/c.pth",
        budgets=(0.25, 0.5),
        sites=(1, 4),
        flops_convention="macs",
    )
    given = {name: getattr(spec, name) for name in spec.model_fields_set}
    line = command_line("tune", given)
    words = shlex.split(line)
    assert words[:4] == ["python", "-m", "suite", "tune"]
    flags = {flag_of(name): name for name in given}
    texts = {flags[flag]: text for flag, text in zip(words[4::2], words[5::2], strict=True)}
    assert spec_from_options(TuneSpec, texts) == spec


def test_what_a_shell_would_read_is_quoted() -> None:
    assert command_line("compare", {"methods": ("mtr", "tome"), "batch_size": 4}) == (
        "python -m suite compare --methods mtr,tome --batch-size 4"
    )
    assert "'vim_nano[classes=5]'" in command_line("tune", {"backbones": ("vim_nano[classes=5]",)})
