"""Evaluate many cells on one batch as a tree: what cells share is run once.

Cells whose reducers agree up to a site share every block before it. At a site the cells part by
reducer, and each branch goes on alone; cells without a reducer there go on unreduced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from backbones.base import Backbone, Reducer
from backbones.common.errors import UserError
from backbones.sequence import TokenSequence
from suite.data.base import one_line
from suite.evaluation.oracle import OracleReducer
from suite.plan.cells import Cell
from suite.system.out_of_memory import DeviceLostError, device_is_lost, out_of_memory

Observer = Callable[[Sequence[str], int, TokenSequence], None]


@dataclass(frozen=True)
class Job:
    """One cell to evaluate: its key and the reducer at each of its sites."""

    key: str
    plan: Mapping[int, Reducer]

    def next_site(self, start: int) -> int | None:
        """The first site at or after block `start`, None if there is none."""
        return min((site for site in self.plan if site >= start), default=None)

    def stretch(self, block: int) -> str:
        """Where `block` lies between the job's own sites, whatever jobs it shares the block with."""
        following = self.next_site(block + 1)
        last = max((site for site in self.plan if site <= block), default=0)
        return f"after block {last}" if following is None else f"before block {following}"


def jobs_for(cells: Sequence[Cell], model: Backbone, index: Tensor, labels: Tensor) -> list[Job]:
    """Make the job of every cell on images `index` (B,) of classes `labels` (B,), for the oracle alone."""
    jobs = []
    for cell in cells:
        if cell.kind == "oracle":
            jobs.append(Job(cell.key, oracle_reducers(cell, model, index, labels)))
        else:
            jobs.append(Job(cell.key, cell.reducers()))
    return jobs


def oracle_reducers(
    cell: Cell, model: Backbone, index: Tensor, labels: Tensor
) -> dict[int, OracleReducer]:
    """Make the oracle's reducer at each site of its cell."""
    assert cell.plan is not None
    label_of = dict(zip(index.tolist(), labels.tolist(), strict=True))
    reducers = {}
    for site, count in cell.plan.counts.items():
        reducers[site] = OracleReducer(model, label_of, count, site)
    return reducers


@dataclass(frozen=True)
class Failure:
    """Why a cell could not be evaluated."""

    reason: str


def failures(
    error: Exception, jobs: Sequence[Job], where: Callable[[Job], str], batch: int
) -> list[tuple[Job, Failure]]:
    """The failure of each of `jobs`, which met `error` on `batch` images.

    A lack of memory is raised where fewer images may still fit; a device that takes no more work is
    a DeviceLostError.
    """
    if batch > 1 and out_of_memory(error):
        raise error
    reasons = {job.key: f"{type(error).__name__} {where(job)}: {one_line(error)}" for job in jobs}
    if device_is_lost(error):
        raise DeviceLostError(reasons) from error
    return [(job, Failure(reasons[job.key])) for job in jobs]


def evaluate(
    model: Backbone, tokens: TokenSequence, jobs: Sequence[Job], observe: Observer
) -> Iterator[tuple[Job, Tensor | Failure]]:
    """Logits (B, classes) of every job, or its failure, in the order in which branches end.

    `tokens` enter block 0. `observe(keys, site, tokens)` sees each sequence that enters block
    `site` after a reduction, with the keys of all jobs that share it. An exception in a reducer or
    a block fails only the jobs behind it, in the same words whatever jobs stand beside them; those
    that `failures` raises, and a block's UserError, are raised.
    """
    yield from _branch(model, tokens, 0, list(jobs), observe)


def _branch(
    model: Backbone, tokens: TokenSequence, start: int, jobs: list[Job], observe: Observer
) -> Iterator[tuple[Job, Tensor | Failure]]:
    """`jobs` agree on everything before block `start`; reducers at `start` itself are already applied."""
    sites = [site for job in jobs if (site := job.next_site(start + 1)) is not None]
    if not sites:
        try:
            logits = model.readout(model.run(tokens, start))
        except UserError:
            raise  # what the user asked for cannot be had, in any cell
        except Exception as error:  # a third party's block may raise anything as well
            yield from failures(error, jobs, lambda job: job.stretch(start), tokens.batch)
        else:
            yield from ((job, logits) for job in jobs)
        return
    site = min(sites)
    groups: dict[Reducer | None, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.plan.get(site), []).append(job)
    needs = frozenset[str]().union(*(reducer.needs for reducer in groups if reducer is not None))
    try:
        arrived = model.run(tokens, start, site, needs=needs)
    except UserError:
        raise
    except Exception as error:
        failed = failures(error, jobs, lambda job: job.stretch(start), tokens.batch)
        if len(groups) > 1:  # perhaps over what one of them needs: each by itself
            for members in groups.values():
                yield from _branch(model, tokens, start, members, observe)
        else:
            yield from failed
        return
    for reducer, members in groups.items():
        try:
            reduced = arrived if reducer is None else checked(arrived, reducer(arrived))
            if reducer is not None:
                observe([job.key for job in members], site, reduced)
        except (
            Exception
        ) as error:  # a third party's reducer may raise anything; the other cells go on
            yield from failures(error, members, lambda _: f"at site {site}", tokens.batch)
            continue
        yield from _branch(model, reduced, site, members, observe)


def checked(before: TokenSequence, after: TokenSequence) -> TokenSequence:
    """`after`, if a block can take it where it took `before`; ValueError if not, since compiled blocks do not look."""
    stream = (before.batch, after.length, before.branch.shape[2])
    shapes = {
        "branch": stream,
        "residual": stream,
        "position": stream[:2],
        "size": stream[:2],
        "special": before.special.shape,
        "image": before.image.shape,
    }
    for name, wanted in shapes.items():
        found = getattr(after, name).shape
        if found != wanted:
            raise ValueError(f"the reducer's {name} has shape {tuple(found)}, not {tuple(wanted)}")
    return after
