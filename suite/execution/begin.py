"""Begin or resume the run in a folder: the same checks, in the same order, for every command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from suite.config.run_spec import Specification
from suite.execution.images import record_images, settle
from suite.execution.moved_data import recorded_spec, refuse_other_data
from suite.plan.prepare import Prepared
from suite.store.run_folder import Store, session

Spec = TypeVar("Spec", bound=Specification)


@contextmanager
def begun(
    plan: Prepared, spec: Spec, folder: Path, resume: bool, fail_fast: bool, skip_damaged: bool
) -> Iterator[tuple[Prepared, Store, Spec]]:
    """Hold the folder of a run; give the plan as it can be run now, the store and the spec.

    The plan is without damaged images, if these are to be skipped; the spec is the recorded one
    where the data lie elsewhere now. UserError, before anything is written, if the folder holds
    another run or the data are others, or if images are damaged.
    """
    recorded = recorded_spec(folder, spec)
    Store.check(folder, recorded, resume)
    plan = settle(plan, folder, skip_damaged)
    refuse_other_data(plan, folder, getattr(recorded, "data", ""))
    with session(folder, recorded, resume, again=fail_fast) as store:
        record_images(plan, store)
        store.write_sites({name: choice.record() for name, choice in plan.sites.items()})
        store.write_alphas({name: alpha.record() for name, alpha in plan.alphas.items()})
        yield plan, store, recorded
