"""Famba-V: token fusion at chosen layers."""

from typing import Any

from backbones.common.reference import Reference
from backbones.common.release import Code
from methods import options
from methods import published_schedules as published
from methods.base import Method, Option, composed


def _composed(layers: str, **given: Any) -> Any:
    # Where it merges is the schedule's affair: the composition is the same at every layer.
    return composed(matching="odd-even", **given)


FAMBAV = Method(
    name="fambav",
    title="Famba-V",
    family="merging",
    paper="Shen et al., Famba-V: Fast Vision Mamba with Cross-Layer Token Fusion, ECCV 2024 "
    "workshops, arXiv:2409.09808",
    reference=Reference(
        key="shen2024fambav",
        title="Famba-V: Fast Vision Mamba with Cross-Layer Token Fusion",
        authors=(
            "Shen, Hui",
            "Wan, Zhongwei",
            "Wang, Xin",
            "Zhang, Mi",
        ),
        year=2024,
        arxiv="2409.09808",
        meeting="European Conference on Computer Vision Workshops",
    ),
    code=Code(
        "AIoT-MLSys-Lab/Famba-V",
        "Apache-2.0",
        "28f7236",
        "by the README's badge and fambav/LICENSE; no file at the root",
    ),
    year=2024,
    published=published.fambav,
    options={
        "layers": Option(
            "alternate",
            "the layers that merge, under protocol paper",
            ("alternate", "all", "lower", "upper"),
        ),
        "feature": options.feature("branch"),
        "neighbour_rank": options.neighbour_rank(),
        "weights": options.weights("mean", "size", "pair", "delta-b", "drop"),
        "cls_window": options.cls_window(),
        "order": options.order(scored=False, merges=True),
        "shuffle": options.shuffle(),
    },
    build=_composed,
    about="""
1. Fusion as in ToMe: patch tokens of even rank name their best of odd rank by the cosine of the
   last mixer's output, the $r$ most similar pairs merge.
2. A merged token is the plain mean; sizes do not weigh.
3. The survivors stand in their original order (`order=appended` is the released code's, by which
   the order is lost).
4. What Famba-V is about is **which layers fuse**: all ($r = 7$ of 196), every other (14), the lower
   (9, before blocks 1 to 5 of 24) or the upper (9, from block 20 on), scaled to the backbone's
   depth and tokens.

`layers` makes a difference under `--protocol paper` only. Under `matched` and `tokens` all methods
share their sites, so that all four are the composition `tome[weights=mean]` and are drawn once.

**Departures in public code.** The command of the README merges nothing (fusion waits for another
flag), lower and upper change places in one of two files, layers count pairs of blocks, and the
class token is read at index 0. The split into even and odd counts the class token, too, so that the
patch tokens that go are those of odd rank.

**Cost.** $\\lceil n/2 \\rceil \\lfloor n/2 \\rfloor F$ multiply-accumulates, $F$ the width of the
feature, besides normalising $n$ features and averaging. At most $\\lfloor n/2 \\rfloor$ tokens go
at a site.
""",
)
