"""Names with settings in brackets, written and read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbones.common.naming import bracketed, with_settings

KEYS = st.sampled_from(("classes", "depth", "image_size", "registers"))
VALUES = st.integers(-9, 9999) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(KEYS, VALUES), st.dictionaries(KEYS, VALUES))
def test_what_is_written_is_read_as_it_was(first: dict[str, float], more: dict[str, float]) -> None:
    once = with_settings("vim_tiny", **first)
    assert bracketed(once) == ("vim_tiny", first)
    assert bracketed(with_settings(once, **more)) == ("vim_tiny", first | more)


@pytest.mark.parametrize(("text", "more", "written"), [
    ("vim_tiny", {}, "vim_tiny"),
    ("vim_tiny", {"classes": 10}, "vim_tiny[classes=10]"),
    ("vim_tiny[depth=2]", {"classes": 10}, "vim_tiny[depth=2,classes=10]"),
    ("vim_tiny[classes=3]", {"classes": 10}, "vim_tiny[classes=10]"),
])  # fmt: skip
def test_settings_are_added_or_replaced(text: str, more: dict[str, int], written: str) -> None:
    assert with_settings(text, **more) == written
