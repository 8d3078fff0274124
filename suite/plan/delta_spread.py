"""Sites where Delta tells the tokens of an image least apart: DTP's choice of a layer, from images.

Park et al. (DTP: Delta-Guided Two Stage Pruning for Mamba-based MLLMs, ICLR 2026) score token j of
layer l by the mean of its timescales, s_{j,l}, and remove tokens at the layer of the first quarter
whose scores deviate least, sqrt(mean_j (s_{j,l} - mean_j s_{j,l})^2). It reads no labels.

Here site i, before block i, has the scores of the block before it, summed over its scans; the
deviation of each image is taken over its patch tokens, unreduced, and its mean over the images
decides; of equal sites the first is taken. The first quarter of L blocks are the sites i <= L / 4.
`delta-spread` is that one site. `delta-spread-N` is this suite's own extension: such a site in
each of the first N quarters.

Not known of the paper: how its images are brought together, how many there were, and whether its
layers count from 0. Its second site, where all image tokens are dropped, has no counterpart where
the answer is read from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from backbones.base import Backbone
from backbones.common.documents import read_json
from backbones.common.errors import UserError
from methods.parts.score import SCORES, SiteContext
from suite.config.run_spec import RunSpec
from suite.data.base import Dataset, IntArray
from suite.plan.calibration import calibrated_on, calibration, calibration_batches
from suite.plan.loading import Opened, weights_hash
from suite.store.run_folder import SITES

NEEDS = frozenset({"delta_mean"})


@dataclass(frozen=True)
class SiteChoice:
    """The sites chosen on one backbone, and what they were chosen by.

    ``spread``   mean deviation of the score at each site
    ``split``    split of the ``images`` many images; ``content`` is a hash of what these hold
    ``weights``  SHA-256 of the weights, None of untrained ones
    """

    rule: str
    sites: tuple[int, ...]
    spread: Mapping[int, float]
    split: str
    images: int
    content: str
    weights: str | None

    def record(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def words(self, kind: str) -> str:
        """The sites, the rule and the images."""
        on = calibrated_on(self.images, kind, self.split, self.content)
        return f"{', '.join(map(str, self.sites))}, chosen by {self.rule} on {on}"


def choose_sites(
    spec: RunSpec,
    opened: Opened,
    dataset: Dataset,
    evaluated: IntArray,
    models: Mapping[str, Backbone],
    stored: Mapping[str, SiteChoice],
) -> dict[str, SiteChoice]:
    """Choose the sites on each backbone; none where `spec` names them or leaves them out.

    A choice that the run has `stored` for the same rule and weights is kept. UserError for a
    backbone without Delta, or if no images are left beside those `evaluated`.
    """
    rule = spec.sites
    if not isinstance(rule, str):
        return {}
    choices = {}
    for name, model in models.items():
        weights = weights_hash(model)
        earlier = stored.get(name)
        if earlier and (earlier.rule, earlier.weights) == (rule, weights):
            choices[name] = earlier
            continue
        if model.missing(NEEDS):
            raise UserError(
                f"--sites {rule} reads Delta, which {name} does not have: name blocks, such as "
                "--sites 2,4, or leave it out"
            )
        what, instead = f"--sites {rule} chooses", "name blocks"
        data, images = calibration(what, instead, spec, opened, dataset, evaluated)
        spread = spread_by_site(model, data, images, spec.batch_size)
        choices[name] = SiteChoice(
            rule,
            flattest(spread, model.depth, quarters_of(rule), name),
            spread,
            data.split,
            len(images),
            data.content(images),
            weights,
        )
    return choices


def at_sites(spec: RunSpec, choice: SiteChoice | None) -> RunSpec:
    """The spec with the numbers of the chosen sites, where they were chosen."""
    return spec if choice is None else spec.model_copy(update={"sites": choice.sites})


def quarters_of(rule: str) -> int:
    """In how many quarters a rule chooses a site."""
    last = rule.rpartition("-")[2]
    return int(last) if last.isdecimal() else 1


def flattest(
    spread: Mapping[int, float], depth: int, quarters: int, backbone: str
) -> tuple[int, ...]:
    """The site of least spread in each of the first `quarters` quarters of `depth` blocks."""
    chosen = []
    for quarter in range(1, quarters + 1):
        inside = [site for site in spread if (quarter - 1) * depth < 4 * site <= quarter * depth]
        if not inside:
            raise UserError(
                f"{backbone} has no site in quarter {quarter} of its {depth} blocks: name blocks, "
                "such as --sites 1,2"
            )
        chosen.append(min(inside, key=lambda site: (spread[site], site)))
    return tuple(chosen)


def spread_by_site(
    model: Backbone, data: Dataset, images: IntArray, batch_size: int
) -> dict[int, float]:
    """Mean over `images` of the deviation of the Delta score at each site of the dense model."""
    found: dict[int, list[torch.Tensor]] = {site: [] for site in model.sites}
    with torch.inference_mode():
        for batch in calibration_batches(model, data, images, batch_size):
            tokens = model.embed(batch)
            start = 0
            for site, deviations in found.items():
                # Only the block before a site has to show its trace: between are MLPs, on some.
                tokens = model.run(tokens, start, site, needs=NEEDS)
                context = SiteContext(tokens, tokens.patches(), seed=0, site=site)
                score = SCORES["delta"].read(context, "both").double()
                deviations.append(score.std(1, correction=0).cpu())
                start = site
    return {site: float(torch.cat(parts).mean()) for site, parts in found.items()}


def stored_sites(folder: Path) -> dict[str, SiteChoice]:
    """By backbone the choices in a run's `folder`; none if there are none or they are damaged."""
    try:
        choices = {}
        for name, record in read_json(folder / SITES).items():
            spread = {int(site): float(value) for site, value in record["spread"].items()}
            sites = tuple(int(site) for site in record["sites"])
            choices[str(name)] = SiteChoice(**{**record, "spread": spread, "sites": sites})
        return choices
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return {}
