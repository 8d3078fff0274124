"""What a finished run says in its folder of its images and of how it was executed."""

from __future__ import annotations

from typing import Any

from backbones.common.labels import data_label
from suite.data.base import digest
from suite.execution.images import held
from suite.plan.loading import weights_hash
from suite.plan.prepare import Prepared
from suite.store.run_folder import Store
from suite.system.environment import command_line
from suite.system.hardware import DTYPES
from suite.system.stopwatch import STOPWATCH


def dataset_record(prepared: Prepared) -> dict[str, Any]:
    """Which images the run used, for ``dataset.json``."""
    dataset, spec = prepared.dataset, prepared.spec
    hashes = held(prepared, prepared.indices)
    record: dict[str, Any] = {
        "name": data_label(spec.data),
        "split": dataset.split,
        "kind": dataset.kind,
        "images": len(prepared.indices),
        "views": dataset.views,
        "available": len(dataset),
        "selection": "all" if spec.images == "all" else "stratified by class",
        "classes": list(dataset.classes),
        # By what images in files held, not by the files, which may have changed meanwhile.
        "hash": digest([dataset.rules(), hashes]) if hashes else dataset.manifest()["hash"],
    }
    if dataset.notes:
        record["notes"] = list(dataset.notes)
    if prepared.left_out:
        record["left_out"] = prepared.left_out_below
    return record


def execution_record(prepared: Prepared, store: Store) -> dict[str, Any]:
    """How the run was executed, for ``environment.json``.

    ``sites`` are those that a rule chose. By backbone: kernel, hashes of the weights and of a third
    party's code, which of a file the weights are, how they were adapted, what was made up,
    preprocessing, the views of a video or windows of a picture in the mean, and how many times the
    stated FLOPs it costs. ``halved`` lists the shards evaluated with a smaller batch than the
    spec's.
    ``seconds_by_part`` is the time of this process; during ``data wait`` the model waited for data.
    """
    dtype = DTYPES[prepared.spec.precision]
    kernels: dict[str, Any] = {}
    weights: dict[str, Any] = {}
    code: dict[str, Any] = {}
    taken: dict[str, Any] = {}
    adapted: dict[str, Any] = {}
    made_up: dict[str, Any] = {}
    preprocessing: dict[str, Any] = {}
    for name, model in prepared.models.items():
        # a transformer has no scan
        mixers = model.mixers()
        kernels[name] = mixers[0].chosen(prepared.device, dtype).kernel if mixers else "none"
        # By hash, since the file at a path may change; None for untrained weights.
        weights[name], code[name] = weights_hash(model), model.code
        if model.provenance:
            taken[name] = model.provenance.taken
            adapted[name] = model.provenance.adapted
            made_up[name] = model.provenance.made_up
        # Each backbone's own: checkpoints differ in resizing, crop and normalisation.
        preprocessing[name] = prepared.data[name].rules().get("preprocess")
    return {
        # Only where a rule chose them: they are in no other file that the page reads.
        **({"sites": _sites(prepared)} if prepared.sites else {}),
        "device": prepared.device,
        "kernel": kernels,
        "weights": weights,
        "code": code,
        "taken": taken,
        "adapted": adapted,
        "made_up": made_up,
        "preprocessing": preprocessing,
        "views": prepared.mean_views,
        "work_of_item": prepared.mean_work,
        "command": command_line(),
        "halved": store.halved(),
        "seconds_by_part": STOPWATCH.rounded(),
    }


def _sites(prepared: Prepared) -> str:
    """The chosen sites of all backbones, in words."""
    kind = prepared.dataset.kind
    return "; ".join(f"{name} {choice.words(kind)}" for name, choice in prepared.sites.items())
