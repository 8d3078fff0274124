"""Weights & Biases: offline in the run's own folder, unless there is a key or WANDB_MODE."""

from __future__ import annotations

import netrc
import os
from typing import Literal

import wandb

from suite.trackers.content import PROJECT, Content

HOST = "api.wandb.ai"


def log(content: Content) -> str:
    """Write settings, curves over the percentage of FLOPs removed, figures, and the report."""
    folder = content.tracker_folder("wandb")
    folder.mkdir(parents=True, exist_ok=True)
    # Code and the machine's load are of no use in a run that is over, and may be private.
    settings = wandb.Settings(
        silent=True, disable_git=True, disable_code=True, x_disable_stats=True
    )
    with wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=content.name,
        config=content.settings,
        dir=str(folder),
        mode=mode(),
        settings=settings,
    ) as run:
        # All curves are over the same axis, which W&B else takes to be the number of the call.
        run.define_metric("percent_removed")
        run.define_metric("*", step_metric="percent_removed")
        rows: dict[int, dict[str, float]] = {}
        for name, values in content.curves.items():
            for step, value in values.items():
                rows.setdefault(step, {})[name] = value
        for step in sorted(rows):
            run.log({"percent_removed": step, **rows[step]})
        run.log(
            {f"figures/{name}": wandb.Image(str(path)) for name, path in content.figures.items()}
        )
        run.summary["headline"] = content.headline
        report = wandb.Artifact(f"report-{run.id}", type="report")
        for path in content.files:
            if path.is_dir():
                report.add_dir(str(path), name=path.name)
            else:
                report.add_file(str(path))
        run.log_artifact(report)
        offline, files, url = run.offline, run.dir, run.url
    return f"{os.path.dirname(files)} (offline: wandb sync sends it)" if offline else str(url)


def mode() -> Literal["offline"] | None:
    """``offline``; None, by which W&B decides itself, if there is a key or WANDB_MODE."""
    if os.environ.get("WANDB_MODE") or os.environ.get("WANDB_API_KEY"):
        return None
    host = os.environ.get("WANDB_BASE_URL", HOST).removeprefix("https://")
    try:
        key = netrc.netrc().authenticators(host)
    except (OSError, netrc.NetrcParseError):
        key = None
    # W&B would ask for one, in a batch job too.
    return None if key else "offline"
