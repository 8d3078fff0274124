"""`suite.export`: a reduced model as a file that runs without this suite's Python code.

``.pt2`` is torch.export's; in it the scan is the registered operator of `backbones.scan.operator`,
so that a program that loads the file imports `backbones.scan` first. ``.onnx`` takes models of
attention: ONNX has no selective scan.
"""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.common.errors import UserError, hint
from backbones.common.paths import local_path
from suite.api.reduce import Reduced

# Beyond this share of the largest logit the exported model is another one.
TOLERANCE = 1e-3
NEEDED = ("onnx", "onnxscript")


def export(reduced: Reduced, images: Tensor, path: str | os.PathLike[str]) -> Path:
    """Write `reduced` to `path`, for batches of the shape and on the device of `images`.

    `path` ends in ``.pt2`` (``torch.export.load(path).module()(images)`` runs it, after ``import
    backbones.scan`` where the model scans) or in ``.onnx``. A method that draws at random draws as
    for images 0..B-1. UserError before anything is done for what cannot be exported, and if the
    exported model's logits are not the model's.
    """
    target = local_path(os.fspath(path))
    scans = bool(reduced.model.mixers())
    if target.suffix not in (".pt2", ".onnx"):
        raise UserError(f"cannot export to '{target.name}': give a path that ends in .pt2 or .onnx")
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {target.parent}: make it, or choose another")
    if target.suffix == ".onnx":
        if scans:
            raise UserError(
                f"ONNX has no selective scan, of which {reduced.model.name} is made: "
                f"export it to {target.with_suffix('.pt2').name}"
            )
        if missing := [name for name in NEEDED if find_spec(name) is None]:
            raise UserError(f"ONNX needs {' and '.join(missing)}: pip install {' '.join(NEEDED)}")
    with torch.no_grad():
        # It also proves the scan's kernel, which a tracer cannot.
        logits = reduced(images)
        program = torch.export.export(reduced, (images,))
        check(program.module()(images), logits)
        try:
            if target.suffix == ".onnx":
                _onnx(program).save(str(target))
            else:
                torch.export.save(program, str(target))
        except OSError as error:
            raise UserError(f"{target}: {error.strerror}: {hint(error)}") from error
    return target


def check(found: Tensor, logits: Tensor) -> None:
    """UserError unless the logits of most images are those of the model, up to rounding."""
    # Of two tokens that are alike to the last digit, rounding may let the other one go: such an
    # image is no fault. NaN fails the comparison.
    alike = (found - logits).abs().amax(1) <= TOLERANCE * logits.abs().max()
    if not alike.float().mean() >= 0.5:
        raise UserError(
            "the exported model answers otherwise than the model: export with other images, or "
            "another method"
        )


def _onnx(program: torch.export.ExportedProgram) -> Any:
    """Translate a program to ONNX, of which PyTorch cannot translate stable sorts."""
    from onnxscript import opset18 as op

    def stable_sort(
        values: Any, stable: bool = True, dim: int = -1, descending: bool = False
    ) -> Any:
        axis: Any = op.Constant(value_ints=[dim])  # of any type to the library's annotations
        count = op.Gather(op.Shape(values), axis)
        # Of equal values TopK names the earlier first, in either direction.
        return op.TopK(values, count, axis=dim, largest=int(descending), sorted=1)

    # They tell of every constant that they do not fold.
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return torch.onnx.export(
        program,
        custom_translation_table={torch.ops.aten.sort.stable: stable_sort},
        dynamo=True,
        verbose=False,
    )
