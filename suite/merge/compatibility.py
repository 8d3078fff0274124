"""Whether runs may stand in one report: what must be the same in all, and what a reader must be told is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from backbones.common.errors import UserError
from suite.config.run_spec import RunSpec
from suite.merge.finished_run import Part

Read = Callable[[Part], Any]
# What a figure means depends on these; a difference between two cells would be theirs, not the
# methods'.
ALIKE: tuple[tuple[str, Read], ...] = (
    ("the data set", lambda part: part.dataset.get("name")),
    ("the split", lambda part: part.dataset.get("split")),
    ("the views of a video", lambda part: part.dataset.get("views")),
    ("the data's hash", lambda part: part.dataset.get("hash")),
    ("the number of images", lambda part: part.dataset.get("images")),
    ("the protocol", lambda part: part.asked.protocol),
    ("the FLOPs convention", lambda part: part.asked.flops_convention),
    ("the precision", lambda part: part.asked.precision),
    ("the device", lambda part: part.environment.get("device")),
)
ON_CUDA: tuple[tuple[str, Read], ...] = (  # there a batch's size and TF32 change what comes out
    ("the batch", lambda part: part.asked.batch_size),
    ("the precision of products (TF32)", lambda part: part.environment.get("matmul_precision")),
)
BY_BACKBONE = (("weights", "weights"), ("preprocessing", "preprocessing"))
TOLD = (("suite", "the suite"), ("git", "the code's commit"), ("torch", "PyTorch"))


def refuse_unlike(parts: Sequence[Part]) -> None:
    """UserError with the first reason for which `parts` cannot be one report."""
    compared = [part for part in parts if isinstance(part.spec, RunSpec)]
    for part in compared[1:]:
        on_cuda = str(part.environment.get("device")).startswith("cuda")
        for what, read in (*ALIKE, *(ON_CUDA if on_cuda else ())):
            _same(what, compared[0], read(compared[0]), part, read(part))
    seen: dict[tuple[str, str], tuple[Part, Any]] = {}
    analysed: dict[tuple[str, str], Part] = {}
    for part in parts:
        for what, field in BY_BACKBONE:
            for backbone, value in (part.environment.get(field) or {}).items():
                first, known = seen.setdefault((field, backbone), (part, value))
                _same(f"{what} of {backbone}", first, known, part, value)
        if getattr(part.spec, "kind", None) == "sensitivity":
            other = analysed.setdefault(("sensitivity", part.backbones[0]), part)
            if other is not part:
                raise UserError(
                    f"'{other.name}' and '{part.name}' are both sensitivity analyses of {part.backbones[0]}: "
                    "report them apart"
                )
    asked = [part for part in parts if hasattr(part.spec, "data")]
    for part in asked[1:]:
        _same(
            "the data set",
            asked[0],
            getattr(asked[0].spec, "data"),
            part,
            getattr(part.spec, "data"),
        )  # noqa: B009


def _same(what: str, first: Part, one: Any, other: Part, two: Any) -> None:
    if one != two:
        raise UserError(
            f"'{first.name}' and '{other.name}' cannot be one report: {what} is {_shown(one)} in the first and "
            f"{_shown(two)} in the second"
        )


def _shown(value: Any) -> str:
    return "unknown" if value is None else str(value)


def unlike_settings(parts: Sequence[Part]) -> list[str]:
    """A sentence for each thing that need not be the same and is not."""
    found = []
    for field, what in TOLD:
        values = {part.name: str(part.environment.get(field)) for part in parts}
        if len(set(values.values())) > 1:
            found.append(
                f"{what} differs: {', '.join(f'{value} in {name}' for name, value in values.items())}."
            )
    return [sentence[0].upper() + sentence[1:] for sentence in found]


def differences(one: Part, other: Part) -> str:
    """In words, the settings and circumstances in which two comparisons differ: what may have made a cell another."""
    mine, theirs = one.asked.model_dump(), other.asked.model_dump()
    about = (
        "methods",
        "budgets",
        "axes",
        "gallery",
        "baselines",
        "shard_size",
        "seeds",
        "backbones",
    )  # change no cell
    found = [name for name in mine if name not in about and mine[name] != theirs[name]]
    found += [field for field in ("kernel", "git", "suite", "torch") if field not in found
              and one.environment.get(field) != other.environment.get(field)]  # fmt: skip
    return ", ".join(found) or "nothing that was recorded"
