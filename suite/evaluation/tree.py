"""Evaluate many cells on one batch as a tree, so that what cells share runs once.

Cells with the same reducers up to a site share every block before it. At a site they part by
reducer, and each branch runs by itself; cells without a reducer there continue unreduced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from backbones.base import Backbone, Reducer
from backbones.common.errors import UserError, user_frame
from backbones.sequence import TokenSequence
from suite.data.base import one_line
from suite.evaluation.oracle import OracleReducer
from suite.plan.cells import Cell
from suite.plan.rectangles import reducers_on
from suite.system.out_of_memory import DeviceLostError, device_is_lost, out_of_memory

Observer = Callable[[Sequence[str], int, TokenSequence], None]


@dataclass(frozen=True)
class Job:
    """One cell to evaluate: its key and the reducer at each of its sites."""

    key: str
    reducers: Mapping[int, Reducer]

    def next_site(self, start: int) -> int | None:
        """The first site at or after block `start`, None if there is none."""
        return min((site for site in self.reducers if site >= start), default=None)

    def where(self, block: int) -> str:
        """Describe where `block` lies between the job's own sites."""
        # Not by those of other jobs, so that a failure has the same reason in any company.
        following = self.next_site(block + 1)
        if following is not None:
            return f"before block {following}"
        return f"after block {max(self.reducers, default=0)}"


def jobs_for(cells: Sequence[Cell], model: Backbone, index: Tensor, labels: Tensor) -> list[Job]:
    """Make a job of each cell for images `index` (B,); the oracle sees their `labels` (B,).

    Cells of adaptive counts have none (`suite.evaluation.adaptive`).
    """
    jobs, shape = [], model.describe()
    for cell in cells:
        if cell.adaptive:
            continue
        # The oracle's reducers depend on the images' labels, so they are made anew for each batch.
        if cell.kind == "oracle":
            jobs.append(Job(cell.key, oracle_reducers(cell, model, index, labels)))
        else:
            jobs.append(Job(cell.key, reducers_on(cell, shape)))
    return jobs


def oracle_reducers(
    cell: Cell, model: Backbone, index: Tensor, labels: Tensor
) -> dict[int, OracleReducer]:
    """Make the oracle's reducer for each site of its cell."""
    assert cell.plan is not None
    label_of = dict(zip(index.tolist(), labels.tolist(), strict=True))
    reducers = {}
    for site, removal in cell.plan.removals.items():
        reducers[site] = OracleReducer(model, label_of, removal.tokens, site)
    return reducers


@dataclass(frozen=True)
class Failure:
    """Why a cell could not be evaluated."""

    reason: str


def failures(
    error: Exception, jobs: Sequence[Job], where: Callable[[Job], str], batch: int
) -> list[tuple[Job, Failure]]:
    """The failure of each of `jobs`, which met `error` on a batch of `batch` images.

    A lack of memory is raised if fewer images may still fit. A device that accepts no more work is
    raised as a DeviceLostError.
    """
    if batch > 1 and out_of_memory(error):
        raise error
    reasons = {}
    for job in jobs:
        reasons[job.key] = f"{type(error).__name__} {where(job)}: {one_line(error)}"
        if frame := user_frame(error):
            reasons[job.key] += f" ({frame})"
    if device_is_lost(error):
        raise DeviceLostError(reasons) from error
    return [(job, Failure(reasons[job.key])) for job in jobs]


def evaluate(
    model: Backbone, tokens: TokenSequence, jobs: Sequence[Job], observe: Observer
) -> Iterator[tuple[Job, Tensor | Failure]]:
    """Logits (B, classes, ...) of every job, or its failure, in the order in which branches end.

    If the first of `jobs` has no reducers, such as that of the dense model, it ends first.
    `tokens` enter block 0. `observe(keys, site, tokens)` receives each sequence that enters block
    `site` after a reduction, with the keys of all jobs that share it.

    An exception in a reducer or a block fails only the jobs that pass through it, with a reason
    that does not depend on the other jobs. Raised are a block's UserError and what `failures`
    raises.
    """
    yield from _branch(model, tokens, 0, list(jobs), observe)


def _branch(
    model: Backbone, tokens: TokenSequence, start: int, jobs: list[Job], observe: Observer
) -> Iterator[tuple[Job, Tensor | Failure]]:
    """Evaluate `jobs` from block `start` on, before which they agree; reducers there have run."""
    sites = []
    for job in jobs:
        following = job.next_site(start + 1)
        if following is not None:
            sites.append(following)
    if not sites:
        try:
            logits = model.readout(model.run(tokens, start))
        except UserError:
            raise  # a setting of the user's is at fault, and so would be every other cell
        except Exception as error:  # a third party's block may raise anything
            yield from failures(error, jobs, lambda job: job.where(start), tokens.batch)
        else:
            for job in jobs:
                yield job, logits
        return
    # The jobs part at the first site that any of them has; a job without a reducer there is in
    # the group None.
    site = min(sites)
    groups: dict[Reducer | None, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.reducers.get(site), []).append(job)
    needs = frozenset[str]().union(*(reducer.needs for reducer in groups if reducer is not None))
    try:
        arrived = model.run(tokens, start, site, needs=needs)
    except UserError:
        raise
    except Exception as error:
        failed = failures(error, jobs, lambda job: job.where(start), tokens.batch)
        if len(groups) == 1:
            yield from failed
            return
        # Perhaps a block cannot give what one of the reducers needs: each group by itself.
        for members in groups.values():
            yield from _branch(model, tokens, start, members, observe)
        return
    for reducer, members in groups.items():
        if reducer is None:
            yield from _branch(model, arrived, site, members, observe)
            continue
        try:
            reduced = reducer(arrived)
            check_shapes(arrived, reduced)
            observe([job.key for job in members], site, reduced)
        except Exception as error:  # a third party's reducer may raise anything
            yield from failures(error, members, lambda _: f"at site {site}", tokens.batch)
        else:
            yield from _branch(model, reduced, site, members, observe)


def check_shapes(before: TokenSequence, after: TokenSequence) -> None:
    """ValueError if the tensors `after` a reduction do not fit together and those `before` it."""
    # Checked here, because compiled blocks would read beyond a tensor of another shape.
    stream = (before.batch, after.length, before.branch.shape[2])
    shapes = {
        "branch": stream,
        "residual": stream,
        "position": stream[:2],
        "size": stream[:2],
        "special": before.special.shape,
        "image": before.image.shape,
    }
    for name, expected in shapes.items():
        shape = getattr(after, name).shape
        if shape != expected:
            raise ValueError(
                f"the reducer's {name} has shape {tuple(shape)}, not {tuple(expected)}"
            )
