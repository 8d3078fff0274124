"""Crop and shrink: tokens of a window of the image alone, which is made smaller."""

from typing import Any

from methods.base import Method, Option


def _view(zoom: float, where: str) -> Any:
    # Listing methods is fast without torch.
    from methods.parts.view import View

    return View(zoom, where)


CROP_SHRINK = Method(
    name="crop-shrink",
    title="Crop and shrink",
    family="hybrid",
    kind="image",
    build=None,
    view=_view,
    options={
        "zoom": Option(
            0.67,
            "share of the saving that shrinking takes, in logarithms; cropping takes the rest",
            minimum=0,
            maximum=1,
        ),
        "where": Option(
            "detail",
            "where the window stands: at most detail, in the centre, or at random",
            ("detail", "centre", "random"),
        ),
    },
    about="""
Made by this suite's authors, and chosen on `dev` images of the bundled backbones: its page,
docs/own-method.md, says how, and where it fails.

1. To make $N$ tokens instead of $n$, the image is shrunk by $f = (N / n)^{z/2}$ a side, $z$ the
   `zoom`, and cropped to the window of which $N$ patches are then made, $G = \\lceil \\sqrt N
   \\rceil$ across and $N / G$ down, the last row cut where it is not full.
2. The window stands where it holds the most *detail*: the variance within $2 \\times 2$ pixels,
   mean over colours, which is the energy that halving the image by means loses. Places are half a
   patch apart; of equal ones the first is taken.
3. The window is an image of its own: a square from its top is resized (bicubic, antialiased) to
   $G \\times G$ patches, the position embedding interpolated to them, and the first $N$ patch
   tokens and the special ones go through all blocks. Nothing leaves later.

**Why.** A token that is never made costs nothing in any block and leaves no gap: the causal
convolution and the scans see neighbours that are neighbours in the image, at even steps. Shrinking
and cropping lose different things, fine detail everywhere and everything outside, and each loss
grows faster than the saving; so two moderate ones lose less than a large one. Outside the window
the tokens lose their variance about the mean of a patch: choosing the window of most detail makes
the sum of what is lost, $\\sum_{\\text{outside}} \\|x - \\bar x\\|^2$ over blocks of $2 \\times 2$
pixels, as small as a window of that size can.

**Ablations.** `zoom=0` crops only, `zoom=1` shrinks only (`downsample` with every number of
tokens); `where=centre` and `where=random` do not look.

**Limits.** It is no reduction of a token sequence: it has no schedule, combines with none of the
others, and needs a square grid of patches and a backbone that takes any number of tokens. What is
outside the window is lost for good. Of clips all frames have the same window.

**Cost.** 4 operations a pixel and colour to find the window, besides the patch embedding of
$G^2 - N$ patches that are cut.
""",
)
