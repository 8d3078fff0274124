"""`suite.load` and `suite.compare`: a run as tables, and one made from Python."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backbones.common.errors import UserError
from backbones.common.naming import split
from backbones.common.paths import local_path
from backbones.common.registry import nearest
from reports.export import cell_rows, flat
from reports.run import Run as Stored
from reports.run import load as read
from reports.run import outcomes
from suite.config.run_spec import SITE_RULES, RunSpec
from suite.config.spec_file import build_spec
from suite.stats.compare import Comparison
from suite.stats.compare import compare as paired
from suite.stats.confusion import overlaps_by_image
from suite.stats.correctness import Outcomes
from suite.stats.hits import Hits
from suite.stats.overlap import Overlaps
from suite.store.find_run import DEFAULT_FOLDER, folder_of
from suite.store.schema import SAME

LISTS = ("methods", "axes", "backbones", "budgets", "sites", "smaller")
DENSE = "none"  # the label of the dense model


class Run:
    """A finished comparison; made by `suite.load` and `suite.compare`.

    ``folder``      where it is
    ``headline``    what was found, in a sentence
    ``cells``       a row a cell: settings, plan, metrics, provenance (see docs/export.md); of a
                    random method a row a seed. ``role`` tells those of the main tables (asked,
                    baseline) from evidence for other questions
    ``statistics``  a row a method and budget: ``top1`` with its 95 % interval (``top1_low``,
                    ``top1_high``), of segmentation ``miou`` likewise, and beside a ``reference``
                    the paired ``difference`` with ``difference_low``, ``difference_high``, ``p``,
                    ``p_holm`` (Holm's correction)
    """

    def __init__(self, folder: Path) -> None:
        """UserError if `folder` holds no finished comparison, or a damaged one."""
        self.folder = folder
        self.cells: pd.DataFrame = flat(cell_rows(folder))
        self._stored: Stored = read(folder)

    @property
    def statistics(self) -> pd.DataFrame:
        """Accuracies with intervals, and differences from the reference with tests."""
        return self._stored.statistics.rename(columns=self._stored.metric.column_of)

    @property
    def headline(self) -> str:
        """What was found, in a sentence; empty if nothing was."""
        return str(self._stored.headline.get("headline") or "")

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The settings of the run, as ``suite.compare(**spec)`` takes them."""
        kept = set(RunSpec.model_fields) - {"version"}
        return {name: value for name, value in self._stored.spec.items() if name in kept}

    def outcomes(
        self,
        method: str,
        budget: float | None = None,
        backbone: str | None = None,
        seed: int = 0,
    ) -> pd.DataFrame:
        """The outcomes of one cell, a row an image, by its number in the data set.

        Columns: ``image``, ``label_true``, ``prediction`` (numbers), ``top5``, ``loss`` (nats),
        ``margin`` (logit of the true class less the best other), ``agree`` (with the dense model),
        ``kl`` (nats, from the dense model), ``tau`` (of the tokens' order); of segmentation see
        docs/segmentation.md. `method` is its label,
        ``none`` the dense model's. Budget and backbone may be left out where there is only one.
        UserError that lists what there is.
        """
        cells = self._cells(method, budget, backbone)
        if seed not in set(cells["seed"]):
            seeds = ", ".join(map(str, cells["seed"]))
            raise UserError(f"{method} has no seed {seed} in this run: it has {seeds}")
        return self._outcomes(cells[cells["seed"] == seed].iloc[0])

    def compare(
        self, method: str, other: str, budget: float | None = None, backbone: str | None = None
    ) -> Comparison:
        """Compare two methods on the same images, as the run's own statistics do.

        ``difference`` is top-1, or mIoU, of `method` less that of `other`, with the bootstrap
        interval ``difference_low`` to ``difference_high`` (95 %) and the exact ``p`` of the paired
        test; of several seeds all are used. ``p`` is None where their FLOPs differ by more than
        0.5 point, or 0.2 where rows and columns leave. Nothing is corrected: where many pairs are
        looked at, read ``p_holm`` in ``statistics``.
        """
        sides = [self._answers(name, budget, backbone) for name in (method, other)]
        return paired(*sides)

    def _answers(self, method: str, budget: float | None, backbone: str | None) -> Outcomes:
        """What a method answered, all seeds."""
        cells = self._cells(method, budget, backbone)
        frames = [self._outcomes(cell) for _, cell in cells.iterrows()]
        label, images = str(cells["label"].iloc[0]), frames[0]["image"].to_numpy()
        removed = float(cells[f"removed_{cells['flops_convention'].iloc[0]}"].iloc[0])
        place = removed, self._stored.kind, self._coarse(cells["key"].iloc[0])
        if self._stored.task == "segmentation":
            pixels, classes = [], len(self._stored.dataset["classes"])
            for frame in frames:
                codes, counts = list(frame["confusion"]), list(frame["pixels"])
                pixels.append(overlaps_by_image(codes, counts, classes))
            return Overlaps(label, np.stack(pixels), images, *place)
        hits = [(frame["label_true"] == frame["prediction"]).to_numpy() for frame in frames]
        return Hits(label, np.stack(hits), images, *place)

    def _coarse(self, key: str) -> bool:
        """Whether a cell removes whole rows and columns; a smaller model's removes nothing."""
        cells = self._stored.every_cell
        return bool(cells.loc[cells["key"] == key, "coarse"].any())

    def _outcomes(self, cell: pd.Series) -> pd.DataFrame:
        frame = outcomes(self._stored, str(cell["key"]))
        if frame.empty:
            raise UserError(
                f"'{self.folder}' has no outcomes of {cell['label']}: its shards/ are gone, or it "
                "is a merged report, whose runs have them"
            )
        return frame.sort_values("image", ignore_index=True)

    def _cells(self, method: str, budget: float | None, backbone: str | None) -> pd.DataFrame:
        """The finished cells of one method at one budget, a row a seed, seeds ascending."""
        # A smaller model's cell is named by its backbone.
        cells = self.cells[self.cells["role"].isin(["asked", "baseline", "smaller"])]
        names = list(dict.fromkeys(cells["backbone"]))
        if backbone is None:
            shown = cells.loc[cells["role"] != "smaller", "backbone"]
            backbone = _only(shown, "backbone")
        elif backbone not in names:
            raise UserError(f"no backbone '{backbone}' in this run: {nearest(backbone, names)}")
        cells = cells[cells["backbone"] == backbone]
        method = DENSE if method == "dense" else method
        called = [
            method in (spec, *label.split(SAME))
            for spec, label in zip(cells["spec"], cells["label"], strict=True)
        ]
        if not any(called):
            hint = nearest(method, set(cells["label"]))
            raise UserError(f"no method '{method}' in this run on {backbone}: {hint}")
        cells = cells[called]
        if method != DENSE:
            budgets = cells["budget"]
            budget = float(_only(budgets, "budget")) if budget is None else budget
            cells = cells[(budgets.astype(float) - budget).abs() < 1e-9]
            if cells.empty:
                had = ", ".join(f"{one:g}" for one in sorted(set(budgets)))
                raise UserError(f"{method} has no budget {budget:g} in this run: it has {had}")
        done = cells[cells["status"] == "ok"].sort_values("seed")
        if done.empty:
            cell = cells.iloc[0]
            raise UserError(f"{method} on {backbone} was {cell['status']}: {cell['reason']}")
        return done

    def __repr__(self) -> str:
        """Where it is and what it compared, in one line."""
        shown = self.cells[self.cells["role"] == "asked"]
        methods = [label for label in dict.fromkeys(shown["label"]) if label != DENSE]
        backbones = ", ".join(dict.fromkeys(shown["backbone"]))
        images = f"{int(shown['images'].max()):,} {self._stored.kind}"
        data = str(shown["dataset"].iloc[0]).partition(":")[0]
        return f"Run({self.folder.name}: {', '.join(methods)} on {backbones}, {images} of {data})"


def load(path: str | os.PathLike[str]) -> Run:
    """Read the finished comparison in the run folder `path`, such as ``runs/NAME``.

    UserError, in one line, for a folder that is none; it names runs that are there.
    """
    return Run(local_path(os.fspath(path)))


def compare(
    *,
    runs: str | os.PathLike[str] = DEFAULT_FOLDER,
    name: str = "",
    resume: bool = True,
    report: bool = True,
    quiet: bool = True,
    **spec: Any,
) -> Run:
    """Run a comparison as ``python -m suite compare`` does, or resume it, and return it.

    `spec` are the command's settings by their names, with its defaults
    (`suite.config.run_spec.RunSpec`): ``methods="mtr,tome"`` or a sequence, ``budgets=[0.2, 0.4]``,
    ``backbones``, ``data``, ``images``, ``schedule``, ... `runs` and `name` give the folder, `name`
    by default made from the settings; what is finished there is not repeated. `report` writes
    its page; without `quiet` progress is shown.

    UserError before anything ran for what cannot run. A cell that fails stops no other: a warning
    tells of it, and ``cells`` has the reason.
    """
    settings = {key: _listed(value) if key in LISTS else value for key, value in spec.items()}
    made = build_spec(**settings)
    folder = folder_of(local_path(os.fspath(runs)), name, made.default_name())
    from suite.comparison import run_comparison

    result = run_comparison(made, folder, quiet=quiet, resume=resume)
    if report:
        from reports import build

        build(folder)
    if result.failures:
        first = next(iter(result.failures.values()))
        warnings.warn(f"cells that failed: {len(result.failures)} ({first})", stacklevel=2)
    return Run(folder)


def _listed(value: Any) -> Any:
    """A list from the text of one, or from one value; the name of a rule stays one."""
    if isinstance(value, str) and value in SITE_RULES:
        return value
    if isinstance(value, str):
        return tuple(split(value))
    return tuple(value) if isinstance(value, Iterable) else value if value is None else (value,)


def _only(values: pd.Series, what: str) -> Any:
    """The only one of `values`; UserError that lists several."""
    several = list(dict.fromkeys(values))
    if len(several) != 1:
        listed = ", ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in several)
        raise UserError(f"this run has several {what}s ({listed}): name one, {what}=...")
    return several[0]
