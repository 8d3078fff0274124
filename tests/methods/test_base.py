"""What a method brings with itself: a schedule, sites and a window."""

from dataclasses import replace

import pytest

from methods.base import Method, composed

OWN = Method(
    name="own",
    title="Own",
    family="pruning",
    about="",
    build=lambda: composed(matching="spaced"),
    schedule="falling",
    sites=lambda shape: shape.sites[::2],
    window=3,
)


def window_of(method: Method, **options: int) -> int:
    composition = method.compose(**options)
    assert composition is not None
    return composition.cls_window


def test_its_window_is_an_option_that_its_parts_need_not_know() -> None:
    assert window_of(OWN) == 3
    assert window_of(OWN, cls_window=0) == 0
    assert OWN.settings({"cls_window": "5"}) == {"cls_window": 5}
    assert "| `cls_window` | `3` |" in OWN.card
    assert window_of(replace(OWN, window=4)) == 4
    assert "cls_window" not in replace(OWN, options={}, window=None).options


def test_a_schedule_that_is_not_tried_is_refused() -> None:
    with pytest.raises(ValueError, match="its schedule 'every-2' is none of"):
        replace(OWN, schedule="every-2")
