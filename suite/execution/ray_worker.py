"""A process that does pieces of a run for a driver, on this machine or another.

It may be started where a user's own folders come first on the path, so nothing but
`suite.system.installation` is imported before the path has been looked to.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from typing import TYPE_CHECKING, Any

from suite.system.installation import secure

if TYPE_CHECKING:
    from suite.plan.prepare import Prepared


class Worker:
    """Opens the run once, then does what it is given, one thing after another."""

    _prepared: Prepared

    def open(self, versions: Mapping[str, str | None], parcel: Sequence[Any]) -> None:
        """Take in the run that the one item of `parcel` refers to; UserError if other versions are installed here."""
        if problem := secure():
            raise ImportError(problem)
        import ray

        from suite.execution.ray_payload import check_versions, opened

        check_versions(versions)
        self._prepared = opened(ray.get(parcel[0]))

    def do(
        self, action: Callable[..., Any], arguments: Sequence[Any]
    ) -> tuple[Any, Mapping[str, str] | None, str]:
        """What `action(prepared, *arguments)` gives, and what it said on standard error.

        The second of the three is None, or the reasons of cells, by key, over which this process
        lost its device.
        """
        from suite.system.out_of_memory import DeviceLostError

        result, lost = None, None
        with redirect_stderr(io.StringIO()) as said:
            try:
                result = action(self._prepared, *arguments)
            except DeviceLostError as error:
                lost = error.reasons
        return result, lost, said.getvalue()
