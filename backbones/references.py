"""The papers of the built-in backbones, by the prefixes of their names.

Authors and titles are those of the papers' official repositories.
"""

from __future__ import annotations

from backbones.common.reference import Reference

VIM = Reference(
    key="zhu2024vim",
    title="Vision Mamba: Efficient Visual Representation Learning with Bidirectional State Space "
    "Model",
    authors=(
        "Zhu, Lianghui",
        "Liao, Bencheng",
        "Zhang, Qian",
        "Wang, Xinlong",
        "Liu, Wenyu",
        "Wang, Xinggang",
    ),
    year=2024,
    arxiv="2401.09417",
    meeting="International Conference on Machine Learning",
)
VIDEOMAMBA = Reference(
    key="li2024videomamba",
    title="VideoMamba: State Space Model for Efficient Video Understanding",
    authors=(
        "Li, Kunchang",
        "Li, Xinhao",
        "Wang, Yi",
        "He, Yinan",
        "Wang, Yali",
        "Wang, Limin",
        "Qiao, Yu",
    ),
    year=2024,
    arxiv="2403.06977",
    meeting="European Conference on Computer Vision",
)
MAMBAREG = Reference(
    key="wang2025mambareg",
    title="Mamba-R: Vision Mamba Also Needs Registers",
    authors=(
        "Wang, Feng",
        "Wang, Jiahao",
        "Ren, Sucheng",
        "Wei, Guoyizhe",
        "Mei, Jieru",
        "Shao, Wei",
        "Zhou, Yuyin",
        "Yuille, Alan",
        "Xie, Cihang",
    ),
    year=2025,
    arxiv="2405.14858",
    meeting="Conference on Computer Vision and Pattern Recognition",
)
PLAINMAMBA = Reference(
    key="yang2024plainmamba",
    title="PlainMamba: Improving Non-Hierarchical Mamba in Visual Recognition",
    authors=(
        "Yang, Chenhongyi",
        "Chen, Zehui",
        "Espinosa, Miguel",
        "Ericsson, Linus",
        "Wang, Zhenyu",
        "Liu, Jiaming",
        "Crowley, Elliot J.",
    ),
    year=2024,
    arxiv="2403.17695",
    meeting="British Machine Vision Conference",
)
ADVENTURER = Reference(
    key="wang2025adventurer",
    title="Causal Image Modeling for Efficient Visual Understanding",
    authors=(
        "Wang, Feng",
        "Yang, Timing",
        "Yu, Yaodong",
        "Ren, Sucheng",
        "Wei, Guoyizhe",
        "Wang, Angtian",
        "Shao, Wei",
        "Zhou, Yuyin",
        "Yuille, Alan",
        "Xie, Cihang",
    ),
    year=2025,
    arxiv="2410.07599",
    meeting="Conference on Computer Vision and Pattern Recognition",
)
VMAMBA = Reference(
    key="liu2024vmamba",
    title="VMamba: Visual State Space Model",
    authors=(
        "Liu, Yue",
        "Tian, Yunjie",
        "Zhao, Yuzhong",
        "Yu, Hongtian",
        "Xie, Lingxi",
        "Wang, Yaowei",
        "Ye, Qixiang",
        "Liu, Yunfan",
    ),
    year=2024,
    arxiv="2401.10166",
    meeting="Advances in Neural Information Processing Systems",
)
DEIT = Reference(
    key="touvron2021deit",
    title="Training data-efficient image transformers & distillation through attention",
    authors=(
        "Touvron, Hugo",
        "Cord, Matthieu",
        "Douze, Matthijs",
        "Massa, Francisco",
        "Sablayrolles, Alexandre",
        "Jégou, Hervé",
    ),
    year=2021,
    arxiv="2012.12877",
    meeting="International Conference on Machine Learning",
)
VIT = Reference(
    key="dosovitskiy2021vit",
    title="An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
    authors=(
        "Dosovitskiy, Alexey",
        "Beyer, Lucas",
        "Kolesnikov, Alexander",
        "Weissenborn, Dirk",
        "Zhai, Xiaohua",
        "Unterthiner, Thomas",
        "Dehghani, Mostafa",
        "Minderer, Matthias",
        "Heigold, Georg",
        "Gelly, Sylvain",
        "Uszkoreit, Jakob",
        "Houlsby, Neil",
    ),
    year=2021,
    arxiv="2010.11929",
    meeting="International Conference on Learning Representations",
)
# What a built-in name begins with, up to its first underscore.
BY_PREFIX = {
    "vim": VIM,
    "videomamba": VIDEOMAMBA,
    "mambareg": MAMBAREG,
    "plainmamba": PLAINMAMBA,
    "adventurer": ADVENTURER,
    "deit": DEIT,
    "vmamba": VMAMBA,
    "vit": VIT,
}


def reference_of(name: str) -> Reference | None:
    """The paper of the built-in backbone called `name`; None if none is known."""
    return BY_PREFIX.get(name.partition("_")[0])
