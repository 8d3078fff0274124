"""TensorBoard: event files in the run's own folder; nothing is sent anywhere."""

from __future__ import annotations

import shutil

import numpy as np
import yaml
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from suite.trackers.content import Content


def log(content: Content) -> str:
    """Write curves over the percentage of FLOPs removed, figures, spec and headline."""
    folder = content.tracker_folder("tensorboard")
    # TensorBoard would draw the events of an earlier log into the same curves.
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:
        writer.add_text("spec", f"```\n{yaml.safe_dump(content.settings, sort_keys=False)}\n```")
        writer.add_text("headline", content.headline)
        for name, values in content.curves.items():
            for step, value in values.items():
                writer.add_scalar(name, value, step)
        for name, path in content.figures.items():
            pixels = np.asarray(Image.open(path).convert("RGB"))
            writer.add_image(f"figures/{name}", pixels, dataformats="HWC")
    return f"{folder} (tensorboard --logdir {folder})"
