"""TensorBoard: event files in the run's own folder; nothing is sent anywhere."""

from __future__ import annotations

import shutil

import numpy as np
import yaml
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from suite.trackers.content import Content


def log(content: Content) -> str:
    """Write curves over the percent of FLOPs removed, figures, spec and headline; what was there is replaced."""
    place = content.place("tensorboard")
    shutil.rmtree(place, ignore_errors=True)
    with SummaryWriter(str(place)) as writer:
        writer.add_text("spec", f"```\n{yaml.safe_dump(content.settings, sort_keys=False)}\n```")
        writer.add_text("headline", content.headline)
        for name, values in content.curves.items():
            for step, value in values.items():
                writer.add_scalar(name, value, step)
        for name, path in content.figures.items():
            writer.add_image(
                f"figures/{name}", np.asarray(Image.open(path).convert("RGB")), dataformats="HWC"
            )
    return f"{place} (tensorboard --logdir {place})"
