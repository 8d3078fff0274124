"""Errors of third-party code are told with the place in that code."""

from pathlib import Path

import pytest
import torch

from backbones.common.errors import describe_error


def raised(source: str, file: Path) -> BaseException:
    file.write_text(source)
    with pytest.raises(Exception) as caught:
        exec(compile(source, str(file), "exec"), {"torch": torch})
    error = caught.value
    # as if the user's file were called directly
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
    return error


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("def f():\n    return {}['a']\nf()\n", "KeyError: 'a' (mine.py:2, in f)"),
        ("import json\njson.loads('x')\n", "(mine.py:2, in <module>)"),
        ("torch.nn.Linear(2, 3)(torch.ones(1, 4))\n", "(mine.py:1, in <module>)"),
        ("class Odd(Exception): ...\nraise Odd\n", "Odd (mine.py:2, in <module>)"),
    ],
)
def test_the_last_frame_in_the_users_file(source: str, place: str, tmp_path: Path) -> None:
    text = describe_error(raised(source, tmp_path / "mine.py"))
    assert text.endswith(place)
    assert "\n" not in text
