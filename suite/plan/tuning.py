"""The table of tries of a backbone, and the images that picked its settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.common.labels import data_label
from backbones.common.paths import local_path
from methods.spec import MethodSpec
from suite.config.run_spec import RunSpec
from suite.data import content_of
from suite.data.base import Dataset, IntArray
from suite.plan.settings import Chosen, choose_settings
from suite.plan.tuning_commands import tune_command
from suite.tries.bundled import bundled
from suite.tries.bundled import of_weights as bundled_of_weights
from suite.tries.files import open_tries
from suite.tries.table import Tries


def find_tries(spec: RunSpec, backbone: str, weights: str | None, dataset: Dataset) -> Tries | None:
    """The table of these weights on this data: of those that `spec` names, else the bundled one."""

    def content(split: str, images: IntArray) -> str | None:
        if split == dataset.split:
            # Opened already; numbers beyond its end are of other data.
            return dataset.content(images) if images.max() < len(dataset) else ""
        return content_of(spec.data, split, spec.source, spec.views, images, dataset.task)

    if not spec.tries:
        return bundled(backbone, weights, dataset.name, content)
    for table in open_tries(local_path(spec.tries)):
        if table.origin.fits(backbone, weights, dataset.name, content):
            return table
    return None


def tries_of_weights(model: Backbone, tries: str | None) -> Tries | None:
    """The table of a model's weights on whatever data: of those in `tries`, else the bundled one.

    UserError if `tries` has none of them. Weights that were adapted have no table.
    """
    origin = model.provenance
    weights = origin.sha256 if origin and not (origin.adapted or origin.made_up) else None
    if tries is None:
        return bundled_of_weights(model.name, weights) if weights else None
    for table in open_tries(local_path(tries)):
        if table.origin.of_weights(model.name, weights):
            return table
    raise UserError(
        f"tries {Path(tries).name}: it has no tries of {model.name} with these weights: make them "
        "with 'python -m suite tune'"
    )


def check_tries(
    spec: RunSpec, found: Iterable[str], methods: Iterable[MethodSpec], dataset: Dataset
) -> None:
    """UserError if `spec` names tries and they are of none of its backbones.

    It names the command that tries the `methods`, those that were asked for.
    """
    if spec.tries and not list(found):
        can = [method for method in methods if method.method.kind == "sequence"]
        command = tune_command(spec, dataset, [method.untuned for method in can])
        raise UserError(
            f"--tries {Path(spec.tries).name}: it has no tries of {', '.join(spec.named)} with "
            f"these weights on {data_label(spec.data)}: make them with '{command}'"
        )


def settings_on(
    dataset: Dataset,
    methods: Sequence[MethodSpec],
    spec: RunSpec,
    tries: Tries | None,
    variants: Sequence[MethodSpec],
    blind: Sequence[str],
) -> Chosen:
    """Settle the settings on one backbone (see `choose_settings`), for a run on these data.

    Beside methods that are not tuned, the baselines leave picks alone that these images made: their
    own would be no evidence, and all other settings stay comparable on every image.
    """
    chosen = choose_settings(methods, spec, tries, variants, blind)
    picked_here = tries is not None and tries.split == dataset.split
    if picked_here and not any(one is not None and one.tuned for one in chosen.methods.values()):
        return choose_settings(methods, spec, None, variants, blind)
    return chosen


def picking_images(tries: Iterable[Tries], dataset: Dataset) -> IntArray:
    """Numbers of the images of `dataset` on which some settings of these tables were picked."""
    picking = np.zeros(0, np.int64)
    for table in tries:
        # Whether the data are the same was checked when the table was found.
        if table.split == dataset.split:
            picking = np.union1d(picking, table.images)
    return picking
