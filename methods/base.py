"""The named method: its composition, paper, options and card."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from backbones.common.errors import UserError, describe_error
from backbones.common.registry import nearest

if TYPE_CHECKING:
    from backbones.common.reference import Reference
    from backbones.common.release import Code
    from backbones.shape import Shape
    from methods.composition import Composition
    from methods.parts.view import View

Value = bool | int | float | str
FAMILIES = ("baseline", "merging", "pruning", "hybrid")
KINDS = ("none", "sequence", "order", "image", "oracle")
COMPOSING = ("sequence", "order")
NATIVE = "native"
WINDOW = "cls_window"  # the option that a run may tune, beside the schedule
UNDO = "undo"  # the option of every method that removes tokens from a sequence, beside its own
# Names of the schedules of `suite.plan.schedule` that are tried; the first is followed by default.
SCHEDULES = ("constant-ratio", "constant-count", "one-shot", "staged", "rising", "falling")
OLD_SPELLINGS = {
    "best": "neighbour_rank",
    "hybrid": "drop_ratio",
    "hybrid_residual": "residual_drop_ratio",
    "neighbours": "path",
    "protect": "cls_window",
    "pruned": "prune_ratio",
    "special": "cls_placement",
}
"""Earlier names of options, which commands and stored specs may still use."""
NO_TRACE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Native:
    """The meaning of ``native``: `there` where blocks provide `trace`, `elsewhere` otherwise.

    So a method made for attention runs in its original form on attention and in its adapted one on
    a scan.
    """

    trace: str
    there: Value
    elsewhere: Value


@dataclass(frozen=True)
class Option:
    """One option of a method.

    ``default``  its type is the option's: bool, int, float or str
    ``choices``  the allowed values; of a number `minimum` and `maximum`, both allowed, instead
    ``native``   the meaning of the value ``native``, where that is the default
    """

    default: Value
    help: str
    choices: tuple[Value, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    native: Native | None = None

    def meant(self, value: Value, provides: frozenset[str]) -> Value:
        """Resolve ``native`` for a backbone that provides the trace fields `provides`."""
        if self.native is None or value != NATIVE:
            return value
        return self.native.there if self.native.trace in provides else self.native.elsewhere

    def allowed(self) -> str:
        """The values it takes, in words."""
        if self.choices:
            return ", ".join(shown(choice) for choice in self.choices)
        if isinstance(self.default, bool):
            return "true, false"
        bounds = [f"from {self.minimum:g}" if self.minimum is not None else ""]
        bounds.append(f"to {self.maximum:g}" if self.maximum is not None else "")
        return " ".join(
            [
                "a whole number" if isinstance(self.default, int) else "a number",
                *filter(None, bounds),
            ]
        )

    def read(self, value: Value, name: str) -> Value:
        """`value`, or the text of one, as this option's type; UserError names what is allowed."""
        typed = _typed(value, type(self.default))
        if typed is None or (self.choices and typed not in self.choices) or not self._within(typed):
            close = difflib.get_close_matches(shown(value), map(shown, self.choices), n=1)
            meant = f"did you mean {close[0]}? it " if close else ""
            raise UserError(
                f"option '{name}' cannot be '{shown(value)}': {meant}takes {self.allowed()}"
            )
        return typed

    def _within(self, value: Value) -> bool:
        # True is 1 to Python: a flag would be compared with bounds.
        if isinstance(value, (bool, str)):
            return True
        return (self.minimum is None or value >= self.minimum) and (
            self.maximum is None or value <= self.maximum
        )


def _typed(value: Value, kind: type) -> Value | None:
    """`value` as a `kind`, None if it is not one."""
    if kind is bool:
        return {"true": True, "false": False}.get(shown(value).lower())
    if kind is str:
        return shown(value)
    # float(True) is 1.0, but a flag is no number.
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    if kind is int:
        # YAML files and sweeps may write a whole number as 3.0.
        return int(number) if number.is_integer() else None
    return number


def cls_window(default: int = 0) -> Option:
    """A window round the class token that no reduction touches."""
    return Option(
        default,
        "patch tokens on each side of the class token that take no part",
        minimum=0,
        maximum=64,
    )


def undo() -> Option:
    """What a segmenter makes of the pixels of dropped tokens."""
    return Option(
        "frozen",
        "pixels of a dropped token in segmentation: its last features, the nearest survivor's, a "
        "blend of survivors, or zeros",
        ("frozen", "nearest", "bilinear", "zeros"),
    )


def composed(**fields: Any) -> Composition:
    """Build a `Composition`; torch is imported only here, so that listing methods is fast."""
    return composition_type()(**fields)


def composition_type() -> type[Composition]:
    """`methods.composition.Composition`, imported only now."""
    from methods.composition import Composition

    return Composition


def shown(value: Value) -> str:
    """A value as it is written in a method's text: true, 3, 0.5, mean."""
    if isinstance(value, bool):
        return str(value).lower()
    # 3 and 3.0 are one setting and must have one text, by which cells are recognised.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


@dataclass(frozen=True)
class Method:
    """A named way to reduce tokens.

    ``name``          what it is called on the command line
    ``title``         what its card and the stored record call it
    ``paper``         citation with its arXiv number, empty for a baseline
    ``year``          of the paper, 0 for a baseline
    ``reference``     the paper in fields, for a bibliography
    ``code``          what its authors released and under which licence, `NO_CODE` if nothing was
                      found; None: not said
    ``family``        baseline | merging | pruning | hybrid
    ``about``         the card: markdown, without the table of options
    ``build``         options -> Composition; None where no token sequence is touched
    ``kind``          sequence: reduces tokens by its composition; order: only moves them; image:
                      makes fewer tokens of the image; oracle: reads the labels; none: leaves the
                      model as it is
    ``view``          of kind image: options -> the window of the image that tokens are made of;
                      None: all of it, smaller
    ``stochastic``    whether the seed makes a difference with the default options
    ``published``     (shape, options) -> {site: tokens removed} as in its paper (see
                      `methods.published_schedules`), or None
    ``schedule``      how its removal is spread over the sites, where neither a run nor tuning says
                      it: one of `SCHEDULES`
    ``sites``         shape -> the blocks before which its tokens leave, where a run does not say it
    ``on_grid``       whether it removes whole rows and columns of the map, by a composition that
                      keeps a rectangle: a budget is then met only as near as those allow
    ``window``        patch tokens on each side of the class token that take no part; gives it the
                      option ``cls_window``, with this default
    """

    name: str
    title: str
    family: str
    about: str
    build: Callable[..., Composition] | None
    paper: str = ""
    year: int = 0
    reference: Reference | None = None
    code: Code | None = None
    kind: str = "sequence"
    training_free: bool = True
    stochastic: bool = False
    options: Mapping[str, Option] = field(default_factory=dict)
    published: Callable[[Shape, Mapping[str, Value]], dict[int, int]] | None = None
    schedule: str = SCHEDULES[0]
    sites: Callable[[Shape], Iterable[int]] | None = None
    on_grid: bool = False
    window: int | None = None
    view: Callable[..., View] | None = None

    def __post_init__(self) -> None:
        """Refuse a method that contradicts itself: third-party mistakes show at import."""
        if self.family not in FAMILIES or self.kind not in KINDS:
            raise ValueError(
                f"method '{self.name}': family is one of {FAMILIES} and kind one of {KINDS}"
            )
        if (self.build is None) == (self.kind in COMPOSING):
            raise ValueError(
                f"method '{self.name}': exactly the kinds {COMPOSING} build a composition"
            )
        if self.view is not None and self.kind != "image":
            raise ValueError(f"method '{self.name}': only the kind image has a view")
        if self.schedule not in SCHEDULES:
            raise ValueError(
                f"method '{self.name}': its schedule '{self.schedule}' is none of {SCHEDULES}"
            )
        # The class is frozen; this is the only field that follows from others.
        options = dict(self.options)
        if self.window is not None:
            options[WINDOW] = cls_window(self.window)
        if self.kind == "sequence":
            options[UNDO] = undo()
        object.__setattr__(self, "options", options)

    @property
    def has_own_setting(self) -> bool:
        """Whether it brings a schedule, sites or a window."""
        return self.schedule != SCHEDULES[0] or self.sites is not None or self.window is not None

    def settings(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """Return the options that differ from their defaults, typed and sorted.

        A `WINDOW` that is spelled out is kept at its default too: it is not the tuned one.

        UserError for an option that does not exist or is named twice.
        """
        settings: dict[str, Value] = {}
        for spelling in sorted(given):
            name = spelling
            # A method of somebody else's may have an option of an earlier name.
            if spelling not in self.options:
                name = OLD_SPELLINGS.get(spelling, spelling)
            if name not in self.options:
                hint = nearest(name, self.options) if self.options else "it has none"
                raise UserError(f"method '{self.name}' has no option '{name}': {hint}")
            if name in settings:
                raise UserError(f"method '{self.name}' is given '{name}' twice: name it once")
            try:
                settings[name] = self.options[name].read(given[spelling], name)
            except UserError as error:
                # Of several methods on a line it is one.
                raise UserError(f"method '{self.name}': {error}") from None
        # Defaults are left out: a text is the same whether or not it spells them out.
        return {
            name: settings[name]
            for name in sorted(settings)
            if name == WINDOW or settings[name] != self.options[name].default
        }

    def compose(self, provides: frozenset[str] = NO_TRACE, /, **options: Any) -> Composition | None:
        """Build the composition for these options (values or their text).

        Options that are not given have their defaults. `provides` are the trace fields of the
        backbone. None if the method touches no token sequence.
        """
        chosen = self._chosen(options, provides)
        if self.build is None:
            return None
        try:
            # Set here, so that `build` need not know of them; their names are those of the fields.
            common: dict[str, Any] = {}
            if self.window is not None:
                common[WINDOW] = chosen.pop(WINDOW)
            if self.kind == "sequence":
                common[UNDO] = chosen.pop(UNDO)
            made = self.build(**chosen)
            if not isinstance(made, composition_type()):
                raise TypeError(f"gave a {type(made).__name__}, no Composition")
            made = replace(made, **common)
        except UserError:
            raise  # names the mend already
        except Exception as error:  # a method may be anyone's
            raise UserError(
                f"method '{self.name}' cannot be built ({describe_error(error)}): correct it"
            ) from error
        return made

    def view_of(self, **options: Any) -> View | None:
        """The view, without a size, for these options (values or their text); None: all is seen."""
        return None if self.view is None else self.view(**self._chosen(options, NO_TRACE))

    def _chosen(self, given: Mapping[str, Any], provides: frozenset[str]) -> dict[str, Value]:
        """The value of every option on a backbone with these trace fields."""
        settings = self.settings(given)
        return {
            name: option.meant(settings.get(name, option.default), provides)
            for name, option in self.options.items()
        }

    def paper_counts(self, shape: Shape, **options: Any) -> dict[int, int] | None:
        """Return the tokens removed before each block of `shape` as published; None if unknown."""
        return None if self.published is None else self.published(shape, self.settings(options))

    @property
    def card(self) -> str:
        """The method card, markdown: what it does, and its table of options."""
        source = f"{self.paper}\n\n" if self.paper else ""
        if self.code is not None:
            source += f"{self.code.text}\n\n"
        head = f"# {self.title} (`{self.name}`)\n\n{source}{self.about.strip()}\n"
        if not self.options:
            return head
        table = ["| option | default | values | meaning |", "|---|---|---|---|"]
        for name, option in self.options.items():
            table.append(
                f"| `{name}` | `{shown(option.default)}` | {option.allowed()} | {option.help} |"
            )
        return head + "\n" + "\n".join(table) + "\n"
