"""The settings of a method that are tried: six schedules, each with three class-token windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backbones.common.errors import UserError
from backbones.common.registry import BUILT_IN
from methods import METHODS
from methods.base import SCHEDULES, WINDOW, Method
from methods.spec import MethodSpec

WINDOWS = (0, 4, 8)
# Where a setting is first shown.
WINDOW_MEANS = "window: tokens on each side of the class token that are never removed"


@dataclass(frozen=True)
class Setting:
    """How a method spreads its removal: a schedule, and a window round the class token.

    ``cls_window``  patch tokens on each side that take no part; 0 for a method without this option
    """

    schedule: str
    cls_window: int

    def __str__(self) -> str:
        """The setting in words: ``staged``, or ``rising, window 4``."""
        return f"{self.schedule}, window {self.cls_window}" if self.cls_window else self.schedule


def on_grid(text: str) -> bool:
    """Whether the method of this text, one of ours, removes whole rows and columns.

    A text of somebody else's is not read: that could run a file.
    """
    name = text.partition("[")[0]
    return METHODS.origin(name) == BUILT_IN and METHODS[name].on_grid


def default_setting(method: Method) -> Setting:
    """The setting of a method that was never tuned: its own."""
    option = method.options.get(WINDOW)
    return Setting(method.schedule, int(option.default) if option else 0)


def settings_of(method: Method) -> list[Setting]:
    """The settings that are tried: schedule by schedule, windows ascending within each."""
    return [Setting(name, window) for name in SCHEDULES for window in windows_of(method)]


def windows_of(method: Method) -> tuple[int, ...]:
    """The windows that are tried; a default outside `WINDOWS` replaces one of them.

    It is the nearest but 0, which stays, since a method must be seen without a window too.
    """
    option = method.options.get(WINDOW)
    if option is None:
        return (0,)
    default, windows = int(option.default), set(WINDOWS)
    if default not in windows:
        windows.discard(min(WINDOWS[1:], key=lambda window: abs(window - default)))
        windows.add(default)
    allowed = []
    for window in sorted(windows):
        # Somebody else's option may have narrower bounds.
        try:
            option.read(window, WINDOW)
        except UserError:
            continue
        allowed.append(window)
    return tuple(allowed)


def with_setting(spec: MethodSpec, setting: Setting) -> MethodSpec:
    """A method with its setting spelled out."""
    options = dict(spec.options)
    if WINDOW in spec.method.options:
        options[WINDOW] = setting.cls_window
    return replace(spec, options=options, schedule=setting.schedule)


def best(kept: Sequence[tuple[Setting, float]], default: Setting) -> Setting | None:
    """The setting that keeps most; of equals the `default`, else the first.

    `kept` has the accuracy of each setting, summed over all budgets.
    """
    most = max((accuracy for _, accuracy in kept), default=0.0)
    winners = [setting for setting, accuracy in kept if accuracy == most]
    if default in winners:
        return default
    return winners[0] if winners else None
