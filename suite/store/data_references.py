"""The papers of the data sets that the suite reads by name; images of one's own have none."""

from __future__ import annotations

from backbones.common.reference import Reference

FASHION_MNIST = Reference(
    key="xiao2017fashionmnist",
    title="Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
    authors=("Xiao, Han", "Rasul, Kashif", "Vollgraf, Roland"),
    year=2017,
    arxiv="1708.07747",
)
TINY_IMAGENET = Reference(
    key="le2015tinyimagenet",
    title="Tiny ImageNet Visual Recognition Challenge",
    authors=("Le, Ya", "Yang, Xuan S."),
    year=2015,
)
IMAGENET = Reference(
    key="russakovsky2015imagenet",
    title="ImageNet Large Scale Visual Recognition Challenge",
    authors=(
        "Russakovsky, Olga",
        "Deng, Jia",
        "Su, Hao",
        "Krause, Jonathan",
        "Satheesh, Sanjeev",
        "Ma, Sean",
        "Huang, Zhiheng",
        "Karpathy, Andrej",
        "Khosla, Aditya",
        "Bernstein, Michael",
        "Berg, Alexander C.",
        "Fei-Fei, Li",
    ),
    year=2015,
    arxiv="1409.0575",
    journal="International Journal of Computer Vision",
)
ADE20K = Reference(
    key="zhou2017ade20k",
    title="Scene Parsing through ADE20K Dataset",
    authors=(
        "Zhou, Bolei",
        "Zhao, Hang",
        "Puig, Xavier",
        "Fidler, Sanja",
        "Barriuso, Adela",
        "Torralba, Antonio",
    ),
    year=2017,
    meeting="IEEE Conference on Computer Vision and Pattern Recognition",
)
# By the name of a data set; those without a paper hold whatever their user puts there.
DATA_REFERENCES: dict[str, Reference | None] = {
    "fashion-clutter": FASHION_MNIST,  # its garments, on canvases drawn here
    "fashion-mnist": FASHION_MNIST,
    "tiny-imagenet": TINY_IMAGENET,
    "tiny-imagenet-50": TINY_IMAGENET,
    "imagenet": IMAGENET,
    "ade20k": ADE20K,
    "imagefolder": None,
    "masks": None,
    "parquet": None,
    "video": None,
    "frames": None,
}
