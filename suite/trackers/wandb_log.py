"""Weights & Biases: offline into the run's own folder unless there is a key, or WANDB_MODE says otherwise."""

from __future__ import annotations

import netrc
import os
from typing import Literal

import wandb

from suite.trackers.content import PROJECT, Content

HOST = "api.wandb.ai"


def log(content: Content) -> str:
    """Write the settings, curves over the percent of FLOPs removed, the figures, and the report as an artifact."""
    place = content.place("wandb")
    place.mkdir(parents=True, exist_ok=True)
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    settings = wandb.Settings(
        silent=True, disable_git=True, disable_code=True, x_disable_stats=True
    )
    with wandb.init(
        project=project, name=content.name, config=content.settings, dir=str(place), mode=mode(), settings=settings
    ) as run:  # fmt: skip
        run.define_metric("percent_removed")
        run.define_metric("*", step_metric="percent_removed")
        for step in sorted({step for values in content.curves.values() for step in values}):
            found = {
                name: values[step] for name, values in content.curves.items() if step in values
            }
            run.log({"percent_removed": step, **found})
        run.log(
            {f"figures/{name}": wandb.Image(str(path)) for name, path in content.figures.items()}
        )
        run.summary["headline"] = content.headline
        report = wandb.Artifact(f"report-{run.id}", type="report")
        for path in content.files:
            report.add_dir(str(path), name=path.name) if path.is_dir() else report.add_file(
                str(path)
            )
        run.log_artifact(report)
        offline, folder, url = run.offline, run.dir, run.url
    return f"{os.path.dirname(folder)} (offline: wandb sync sends it)" if offline else str(url)


def mode() -> Literal["offline"] | None:
    """``offline`` where no key is set; None, which is what the environment says, where there is one or WANDB_MODE."""
    if os.environ.get("WANDB_MODE") or os.environ.get("WANDB_API_KEY"):
        return None
    try:
        known = netrc.netrc().authenticators(
            os.environ.get("WANDB_BASE_URL", HOST).removeprefix("https://")
        )
    except (OSError, netrc.NetrcParseError):
        known = None
    return None if known else "offline"
