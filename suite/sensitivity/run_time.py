"""Estimate how long an analysis takes: the dense model is timed, the rest follows from passes."""

from __future__ import annotations

from collections.abc import Sequence

from backbones.base import Backbone
from suite.plan.prepare import Prepared
from suite.plan.run_time import dense_seconds, estimate_seconds
from suite.sensitivity.probe import REFERENCE_RANKINGS, WINDOWS, ProbeSettings

WINDOWED = 2  # rankings that are tried with every window: random ones, and by the first score
WHOLE = 2  # passes through the whole model: the dense one, and that of the gradients and back


def seconds_left(
    prepared: Prepared, settings: ProbeSettings, outcomes: float, images: Sequence[int]
) -> float:
    """Seconds for a share of the `outcomes` in [0, 1] and for the probes of `images`.

    Loading and the report are not counted.
    """
    (model,), (data,) = prepared.models.values(), prepared.data.values()
    seconds = dense_seconds(model, data, prepared.device, settings.batch)
    zeroed = settings.zeroed.intersection(images)
    probes = len(images) * probe_passes(model, settings, zeroing=False)
    more = probe_passes(model, settings, zeroing=True) - probe_passes(model, settings, False)
    return seconds * (probes + len(zeroed) * more) + estimate_seconds(prepared) * outcomes


def probe_passes(model: Backbone, settings: ProbeSettings, zeroing: bool) -> float:
    """Cost of the probes of an image in dense passes, by blocks that run."""
    windows = WINDOWED * len(WINDOWS) if model.special_places else 0
    rankings = len(settings.scores) + len(REFERENCE_RANKINGS) + 2 + windows
    single = len(settings.ranks) * (2 if zeroing else 1)
    variants = single + rankings + len(settings.class_positions)
    left = sum(model.depth - layer for layer in settings.layers) / model.depth
    return WHOLE + variants * left
