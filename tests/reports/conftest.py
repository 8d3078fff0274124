"""A made-up run of the documented schema: invented numbers, in the shapes and relations of a real one."""

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import reports
from reports import sections, static_figures
from reports.figures.canvas import DPI
from reports.report_data import ReportData
from reports.run import load
from suite.analysis.statistics import accuracy_row, difference_columns
from suite.stats.blind_baselines import AtSetting, blind_table, compare_to_blind
from suite.stats.hits import Hits
from suite.stats.ranking import rank
from suite.store.schema import TABLES
from suite.tries.settings import Setting

Inkless = Callable[[], AbstractContextManager[None]]

DEPTH, SIDE, IMAGES = 8, 14, 400
CLASSES = [
    "T-shirt",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> $\\frac{ & \"q\" 'a' | _%{{7*7}}"
SAME = "tome[order=appended] = tome[order=appended,weights=size]"  # two texts of one composition
BLOCKS = (2, 5, 7)  # before which tokens of the gallery go
BUDGETS = (0.2, 0.3, 0.4, 0.5, 0.6)
METHODS: dict[str, tuple[str, str, float, float]] = {
    # label: method, family, loss of top-1 at 60 %, share of foreground preferred
    "mtr": ("mtr", "hybrid", 0.075, 1.25),
    "tome": ("tome", "merging", 0.058, 1.02),
    SAME: ("tome", "merging", 0.41, 1.02),
    "evit": ("evit", "pruning", 0.12, 1.4),
    "random": ("random", "baseline", 0.15, 1.0),
    "stride": ("stride", "baseline", 0.10, 1.0),
    "pool": ("pool", "baseline", 0.13, 1.0),
    "downsample": ("downsample", "baseline", 0.19, 1.0),
}
TITLES = {
    "none": "Dense",
    "mtr": "MTR",
    "tome": "ToMe",
    "evit": "EViT",
    "random": "Random",
    "stride": "Stride",
    "pool": "Pooling",
    "downsample": "Smaller image",
}
DENSE_FLOPS = {
    "gemm": 180_000_000,
    "conv": 6_000_000,
    "scan": 70_000_000,
    "elementwise": 9_000_000,
    "reduction": 0,
}


def _dump(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _total(flops: dict[str, int]) -> dict[str, int]:
    macs = flops["gemm"] + flops["conv"]
    return {
        "flops": 2 * macs + flops["scan"] + flops["reduction"],
        "macs": macs + flops["scan"] + flops["reduction"],
        "paper": macs + flops["scan"] // 2 + flops["reduction"],
    }


def _key(label: str, budget: float | None, seed: int) -> str:
    return hashlib.sha256(f"{label}-{budget}-{seed}".encode()).hexdigest()[:16]


def _cell(
    label: str, budget: float | None, seed: int, rng: np.random.Generator, names: dict[str, str]
) -> dict[str, Any]:
    method, family, loss, _ = METHODS.get(label, ("none", "baseline", 0.0, 1.0))
    achieved = 0.0 if budget is None else budget + float(rng.uniform(-0.0015, 0.0015))
    if label == "downsample" and budget is not None:
        achieved = {0.2: 0.265, 0.3: 0.265, 0.4: 0.49, 0.5: 0.49, 0.6: 0.67}[budget]
    flops = {kind: int(value * (1 - achieved)) for kind, value in DENSE_FLOPS.items()}
    fall = 0.0 if budget is None else loss * (achieved / 0.6) ** 2.2 + float(rng.normal(0, 0.004))
    outcomes = np.random.default_rng(3).random(IMAGES) >= 0.148 + fall
    return {
        "key": _key(label, budget, seed), "status": "ok", "reason": None, "backbone": "vim_nano",
        "task": "classification", "checkpoint": "bundled", "weights": "05efe4d8", "dataset": "fashion-clutter",
        "split": "test", "images": IMAGES, "method": method,
        "label": names.get(label, label), "spec": names.get(label, label).split(" = ")[0],
        "title": TITLES[method], "family": family, "stochastic": label == "random",
        "options": {}, "composition": {}, "protocol": "matched", "flops_convention": "flops",
        "precision": "fp32", "image_size": 56, "budget": budget, "seed": seed,
        "removals": {"2": {"tokens": 30}}, "lengths": [197] * DEPTH, "flops": flops, "total": _total(flops),
        "removed": dict.fromkeys(("flops", "macs", "paper"), achieved), "token_ratio": achieved * 1.05,
        "metrics": {
            "top1": float(outcomes.mean()), "top5": 0.99, "loss": 0.5 + fall, "margin": 2.0 - fall,
            "agreement": 1.0 - 1.4 * abs(fall), "kl": 2.2 * abs(fall) if budget else 0.0, "dense_top1": 0.852,
            "tau": 1.0,
        },
        "_correct": outcomes,
    }  # fmt: skip


def _shard(folder: Path, cell: dict[str, Any], rng: np.random.Generator) -> None:
    label = rng.integers(0, 10, IMAGES)
    prediction = np.where(cell.pop("_correct"), label, (label + 1) % 10)
    for number, part in enumerate(np.array_split(np.arange(IMAGES), 2)):
        path = folder / "shards" / cell["key"] / f"{number:05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(
            {
                "image": part, "label_true": label[part].astype("int32"), "prediction": prediction[part].astype("int32"),
                "top5": True, "loss": np.float32(0.5), "margin": np.float32(1.0), "agree": True, "kl": np.float32(0.1),
            }
        ).to_parquet(path)  # fmt: skip
    cell["metrics"]["top1"] = float((prediction == label).mean())


def _statistics(
    cells: list[dict[str, Any]], names: dict[str, str], budgets: tuple[float, ...]
) -> pd.DataFrame:
    rows = []
    for budget in budgets:
        top = {label: [c["metrics"]["top1"] for c in cells if c["label"] == names.get(label, label)
                       and c["budget"] == budget and c["status"] == "ok"] for label in METHODS}  # fmt: skip
        for label, values in top.items():
            if not values:
                continue
            mean, reference = float(np.mean(values)), float(np.mean(top["mtr"]))
            gap, same = mean - reference, label == "mtr"
            tested = not same and label != "downsample"
            apart = 6 * np.exp(-abs(gap) * 150) < 0.05 and abs(gap) > 0.021
            rows.append(
                {
                    "backbone": "vim_nano", "budget": budget, "label": names.get(label, label), "reference": "mtr",
                    "difference": np.nan if same else gap, "difference_low": gap - 0.021 if tested else np.nan,
                    "difference_high": gap + 0.021 if tested else np.nan,
                    "p": float(np.exp(-abs(gap) * 150)) if tested else np.nan,
                    "p_holm": min(1.0, 6 * float(np.exp(-abs(gap) * 150))) if tested else np.nan,
                    "significant": bool(apart) if tested else None,
                    "comparisons": 6, "only_method_correct": 11, "only_reference_correct": 14, "top1": mean, "top1_low": mean - 0.033,
                    "top1_high": mean + 0.032, "seeds": len(values), "images": IMAGES,
                }
            )  # fmt: skip
    none = {
        "budget": np.nan,
        "label": "none",
        "reference": "none",
        "top1_low": 0.82,
        "top1_high": 0.885,
    }
    rows.append({**rows[0], **none})
    return pd.DataFrame(rows)


def _blind(
    cells: list[dict[str, Any]], correct: dict[str, Any], budgets: tuple[float, ...]
) -> pd.DataFrame:
    found = []
    for budget in budgets:
        hits: dict[str, list[Any]] = {}
        for cell in cells:
            if cell["budget"] == budget and cell["status"] == "ok":
                hits.setdefault(cell["label"], []).append(correct[cell["key"]])
        told = {
            label: AtSetting(
                label,
                Setting("constant-ratio", 0),
                Hits(label, np.stack(seeds), np.arange(IMAGES)),
            )
            for label, seeds in hits.items()
        }
        blind = [told.pop(label) for label in ("random", "stride", "pool") if label in told]
        told.pop("downsample", None)
        mark = compare_to_blind("vim_nano", budget, blind, list(told.values()))
        found += [mark] if mark else []
    return blind_table(found)


def _ranking(
    cells: list[dict[str, Any]],
    correct: dict[str, Any],
    names: dict[str, str],
    budgets: tuple[float, ...],
) -> pd.DataFrame:
    rows = []
    for budget in budgets:
        hits: dict[str, list[Any]] = {}
        for cell in cells:
            ranked = cell["budget"] == budget and cell["method"] != "downsample"
            if ranked and cell["status"] == "ok":
                hits.setdefault(cell["label"], []).append(correct[cell["key"]])
        outcomes = [
            Hits(label, np.stack(seeds), np.arange(IMAGES)) for label, seeds in hits.items()
        ]
        for place in rank(outcomes):
            row = {"backbone": "vim_nano", "budget": budget, "group": place.group}
            row |= accuracy_row(place.outcomes, "vim_nano", budget, None)
            if against := place.against:
                row |= difference_columns(against) | {"reference": against.reference}
                row |= {"unsettled": False}
            rows.append(row)
    frame = pd.DataFrame(rows, columns=list(TABLES["ranking"].columns))
    return frame.astype({"significant": "boolean", "unsettled": "boolean"})


def _kept(
    rng: np.random.Generator,
    names: dict[str, str],
    labels: tuple[str, ...],
    budgets: tuple[float, ...],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    maps, lines = [], []
    row, col = (axis.ravel() for axis in np.mgrid[:SIDE, :SIDE])
    middle = np.exp(-((row - 6.5) ** 2 + (col - 6.5) ** 2) / 40)
    for label in labels:
        method, _, _, lift = METHODS[label]
        if method == "downsample":
            continue
        for budget in budgets:
            for block in range(DEPTH):
                share = 1 - 1.6 * budget * block / DEPTH
                field = share * (1 + (lift - 1) * (middle - middle.mean()) * 2) + rng.normal(
                    0, 0.02, SIDE * SIDE
                )
                if method == "stride" and block:
                    field = ((row * SIDE + col) % 3 < 3 * share).astype(float)
                maps.append(
                    pd.DataFrame(
                        {
                            "backbone": "vim_nano", "label": names.get(label, label), "budget": budget, "seed": 0,
                            "block": block, "row": row, "col": col,
                            "kept": np.clip(field, 0, 1) if block else np.ones(SIDE * SIDE),
                        }
                    )
                )  # fmt: skip
                lines.append(
                    {
                        "backbone": "vim_nano", "label": names.get(label, label), "budget": budget, "seed": 0,
                        "block": block, "foreground_kept": min(1.0, share * (1 + (lift - 1) * block / DEPTH)),
                        "kept": share, "images": IMAGES,
                    }
                )  # fmt: skip
    return pd.concat(maps), pd.DataFrame(lines)


def _gallery(
    rng: np.random.Generator,
    names: dict[str, str],
    labels: tuple[str, ...],
    budgets: tuple[float, ...],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    pictures, rows, count = [], [], 6 if len(labels) > 5 else 2
    yy, xx = np.mgrid[:56, :56]
    for image in range(count):
        noise = rng.normal(0, 1, (7, 7, 3)).repeat(8, 0).repeat(8, 1) * 25 + 110
        blob = ((yy - 28 - 3 * image % 9) ** 2 + (xx - 24 - image) ** 2 < 260)[..., None]
        pixels = np.clip(np.where(blob, [200, 90 + 20 * image, 60], noise), 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        why = "drawn at random" if image else "broken first by mtr"
        pictures.append(
            {"image": 100 + image, "png": buffer.getvalue(), "label_true": image, "why": why}
        )
        for label in labels:
            method, family, _, _ = METHODS[label]
            for budget in budgets if method != "downsample" else ():
                place = np.arange(SIDE * SIDE)
                last = np.where(
                    rng.random(SIDE * SIDE) < budget * 1.3,
                    rng.integers(2, DEPTH, SIDE * SIDE),
                    DEPTH,
                )
                answer = {
                    "label_true": image, "prediction": int((image + (rng.random() < 0.3)) % 10),
                    "dense_prediction": image, "confidence": float(rng.uniform(0.4, 1)), "dense_confidence": 0.93,
                }  # fmt: skip
                for block in BLOCKS:
                    gone = last <= block
                    owner = np.where(
                        gone, -1 if family in {"pruning", "baseline"} else place // 5 * 5, place
                    )
                    if method == "mtr":
                        owner[3] = -2
                    rows.append(
                        {
                            "backbone": "vim_nano", "label": names.get(label, label), "budget": budget, "seed": 0,
                            "image": 100 + image, "block": block, "owner": owner.astype("int32").tolist(), **answer,
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame(pictures)


def _alike(
    rng: np.random.Generator,
    names: dict[str, str],
    labels: tuple[str, ...],
    budgets: tuple[float, ...],
) -> dict[str, pd.DataFrame]:
    """Overlaps of the kept tokens, and the images that break first."""
    members = [names.get(label, label) for label in labels if label != "downsample"]
    place = [{"backbone": "vim_nano", "budget": budget} for budget in budgets]
    pairs = [
        {**at, "one": one, "other": other}
        for at in place
        for one, other in combinations(members, 2)
    ]
    layers = [
        {
            **pair,
            "block": block,
            "iou": 0.5,
            "chance": 0.4,
            "correlation": float(rng.uniform(-1, 1)),
        }
        for pair in pairs
        for block in BLOCKS
    ]
    whole = [
        {
            **pair,
            "survival": float(rng.uniform(-1, 1)),
            "kappa": float(rng.uniform(0, 1)),
            "agree": 0.8,
            "images": 200,
        }
        for pair in pairs
    ]
    breaks = [
        {
            "backbone": "vim_nano",
            "label": label,
            "image": 100 + number,
            "budget": budgets[0],
            "kl": 3.0 - number,
        }
        for label in members
        for number in range(2)
    ]
    return {
        "token_overlap": pd.DataFrame(layers),
        "method_similarity": pd.DataFrame(whole),
        "mantel_test": pd.DataFrame(
            [{**at, "methods": len(members), "rho": 0.61, "p": 0.004} for at in place]
        ),
        "first_errors": pd.DataFrame(breaks),
    }


def fabricate(
    folder: Path,
    hostile: bool = False,
    labels: tuple[str, ...] = tuple(METHODS),
    budgets: tuple[float, ...] = BUDGETS,
    called: tuple[tuple[str, str], ...] = (),
) -> Path:
    """Write a whole run into `folder`; `hostile` puts markup into every string that a user or a plugin can set.

    `called` gives methods other texts.
    """
    rng = np.random.default_rng(7)
    names = dict(called) | ({"evit": f"evit[score={HOSTILE}]"} if hostile else {})
    cells = [_cell("none", None, 0, rng, names)]
    for label in labels:
        for budget in budgets:
            cells += [
                _cell(label, budget, seed, rng, names)
                for seed in ((0, 1, 2) if label == "random" else (0,))
            ]
    reasons = {
        ("pool", 0.6): (
            "skipped",
            "pool can remove at most 54.1 % at the default sites: ask for less, or add sites",
        ),
        ("evit", 0.6): (
            "failed",
            HOSTILE if hostile else "the loss was not finite in shard 3 (RuntimeError)",
        ),
    }
    correct = {cell["key"]: cell["_correct"] for cell in cells}
    for cell in cells:
        _shard(folder, cell, rng)
        if (cell["method"], cell["budget"]) in reasons:
            cell["status"], cell["reason"] = reasons[cell["method"], cell["budget"]]
            cell["metrics"], cell["flops"], cell["total"] = None, {}, {}
            cell["removed"], cell["token_ratio"] = {}, None
        _dump(folder / "cells" / f"{cell['key']}.json", cell)
    kept, foreground = _kept(rng, names, labels, budgets)
    gallery, images = _gallery(rng, names, labels, budgets)
    statistics = _statistics(cells, names, budgets)
    frames = {
        "statistics": statistics,
        "kept_tokens": kept,
        "foreground": foreground,
        "gallery": gallery,
        "images": images,
    }
    frames |= {"blind_comparison": _blind(cells, correct, budgets)}
    frames |= {"ranking": _ranking(cells, correct, names, budgets)}
    frames |= _alike(rng, names, labels, budgets)
    (folder / "analyses").mkdir()
    for name, frame in frames.items():
        frame.to_parquet(folder / "analyses" / f"{name}.parquet")
    _words(folder, hostile)
    return folder


def _words(folder: Path, hostile: bool) -> None:
    classes = [*CLASSES[:4], HOSTILE, *CLASSES[5:]] if hostile else CLASSES
    methods = [
        "none",
        "mtr",
        "tome",
        SAME.split(" = ")[0],
        "random",
        "stride",
        "pool",
        "evit",
        "downsample",
    ]
    spec = {
        "schema": 4, "backbones": ["vim_nano"], "checkpoint": HOSTILE if hostile else "bundled",
        "data": "fashion-clutter", "split": "test", "source": None, "images": IMAGES, "methods": methods,
        "baselines": True, "budgets": list(BUDGETS), "protocol": "matched", "sites": None, "flops_convention": "flops",
        "seeds": 3, "batch_size": 32, "shard_size": 256, "gallery": 8, "device": "auto", "precision": "fp32", "kernel": "auto",
        "threads": 0,
    }  # fmt: skip
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    dataset = {
        "name": HOSTILE if hostile else "fashion-clutter", "split": "test", "images": IMAGES, "available": 2000,
        "selection": "stratified by class", "classes": classes, "hash": "41ab0b98",
    }  # fmt: skip
    _dump(folder / "dataset.json", dataset)
    environment = {
        "suite": "0.1.0", "git": "b551744", "python": "3.11.9", "torch": "2.15.0", "numba": "0.61",
        "platform": HOSTILE if hostile else "Linux-6.8-x86_64", "cpu": "AMD EPYC 7B13", "cores": 2, "threads": 2,
        "gpu": None, "device": "cpu", "kernel": {"vim_nano": "cpu"}, "weights": {"vim_nano": "05efe4d8"},
        "variables": {}, "started": "2026-11-02T10:00:00+00:00", "finished": "2026-11-02T10:00:52+00:00",
        "seconds": 52.1, "memory_mb": 24105, "peak_memory_mb": 912,
        "command": "python -m suite compare --methods mtr,tome && true",
    }  # fmt: skip
    _dump(folder / "environment.json", environment)
    headline = {
        "headline": "On vim_nano and fashion-clutter, tome loses 1.7 points less top-1 than mtr at 40 % fewer FLOPs "
        "(95 % interval −0.4 to +3.8, 400 images): too small a difference to call.",
        "resolution": [
            {"backbone": "vim_nano", "budget": budget, "smallest_detectable": 0.012 + budget / 50,
             "can_rank": budget not in (0.3, 0.4),
             "sentence": f"At {budget:.0%} of FLOPs removed, 400 images show a difference of "
             f"{100 * (0.012 + budget / 50):.1f} points or more; "
             + ("random loses less, so this data cannot rank them." if budget in (0.3, 0.4)
                else "the methods can be ranked.")}
            for budget in BUDGETS
        ],
        "paragraphs": [
            "One backbone, one seed of training and one data set: a method that wins here need not win on ImageNet.",
            HOSTILE if hostile else "Intervals are paired bootstraps over images; Holm corrects within a budget.",
        ],
        "blind": [
            "Blind baselines at their best, vim_nano, 400 test images: beaten at -20 % FLOPs by mtr.",
            HOSTILE if hostile else "At their best: under every setting.",
        ],
    }  # fmt: skip
    _dump(folder / "analyses" / "headline.json", headline)


@pytest.fixture(scope="session")
def drawn_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Figure]]:
    """A run, its report built, and the figures of its page."""
    folder = fabricate(tmp_path_factory.mktemp("run"))
    figures: dict[str, Figure] = {}
    draw = static_figures.drawn

    def kept(*arguments: Any) -> Iterator[tuple[str, Figure]]:
        for name, figure in draw(*arguments):
            figures[name] = figure
            yield name, figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(static_figures, "drawn", kept)
        reports.build(folder)
    for figure in figures.values():
        # Texts are measured as in the PNG, not as in the SVG, which was written last.
        FigureCanvasAgg(figure)
        figure.set_dpi(DPI)
    return folder, figures


@pytest.fixture(scope="session")
def run_folder(drawn_run: tuple[Path, dict[str, Figure]]) -> Path:
    """A run, its report built."""
    return drawn_run[0]


@pytest.fixture(scope="session")
def wide(drawn_run: tuple[Path, dict[str, Figure]]) -> dict[str, Figure]:
    """All figures of the run at the width of a page, as they were laid out for it."""
    return drawn_run[1]


@pytest.fixture(scope="session")
def report(run_folder: Path) -> ReportData:
    """The run, read."""
    return ReportData.of(load(run_folder, sections.needed()))


@pytest.fixture(scope="session")
def narrow(report: ReportData) -> dict[str, Figure]:
    """All figures of the run at the width of a column."""
    parts = sections.sections(report)
    return dict(static_figures.drawn(report, parts, static_figures.ONE_COLUMN))


@pytest.fixture(scope="session")
def stored_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of every method, not drawn; one was skipped and one failed."""
    return fabricate(tmp_path_factory.mktemp("stored") / "small", budgets=(0.6,))


@pytest.fixture(scope="session")
def single_folder(tmp_path_factory: pytest.TempPathFactory, inkless: Inkless) -> Path:
    """A small run of one budget, its report built, its figures not drawn."""
    labels = ("mtr", "tome", "random", "downsample")
    folder = fabricate(tmp_path_factory.mktemp("single") / "run", labels=labels, budgets=(0.4,))
    with inkless():
        reports.build(folder)
    return folder


@pytest.fixture(scope="session")
def hostile_folder(tmp_path_factory: pytest.TempPathFactory, inkless: Inkless) -> Path:
    """A small run full of markup, its report built, its figures not drawn."""
    labels = ("mtr", "tome", "evit", "random", "pool", "downsample")
    folder = fabricate(
        tmp_path_factory.mktemp("hostile"), hostile=True, labels=labels, budgets=(0.4, 0.6)
    )
    with inkless():
        reports.build(folder)
    return folder


@pytest.fixture(scope="session")
def harmful_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run full of markup, not drawn yet."""
    labels = ("mtr", "evit", "random")
    return fabricate(
        tmp_path_factory.mktemp("harmful") / "run", hostile=True, labels=labels, budgets=(0.4, 0.6)
    )


@pytest.fixture(scope="session")
def fabricated(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A maker of small run folders, each made once; not to be written to."""
    made: dict[str, Path] = {}

    def make(**settings: Any) -> Path:
        key = repr(sorted(settings.items()))
        if key not in made:
            made[key] = fabricate(tmp_path_factory.mktemp("fabricated") / "run", **settings)
        return made[key]

    return make


@pytest.fixture
def fresh(tmp_path: Path, fabricated: Callable[..., Path]) -> Callable[..., Path]:
    """A maker of small run folders that a test may damage."""
    labels = ("mtr", "tome", "evit", "random", "pool")
    small = {"labels": labels, "budgets": (0.4, 0.6)}
    return lambda **changed: Path(
        shutil.copytree(fabricated(**(small | changed)), tmp_path / "run")
    )
