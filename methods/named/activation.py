"""Activation: pruning by the clipped output, the score of UTR and HSA by itself."""

from methods import options
from methods.base import Method, composed

ACTIVATION = Method(
    name="activation",
    title="Activation",
    family="baseline",
    options={
        "direction": options.direction(),
        "reading": options.reading(),
        "cls_window": options.cls_window(),
        "order": options.order(scored=True, merges=False),
        "shuffle": options.shuffle(),
    },
    build=lambda **given: composed(matching="lowest", score="activation", **given),
    about="""
Score: $s_i = \\frac1E \\sum_d \\max(0, y_{i,d})$, the mean over channels of the clipped output $y$.
The $r$ tokens of lowest score are dropped, the others stand in their original order. This is the
score of UTR and HSA without what those methods add.

`reading` says which output: the scan's before its gate (`ungated`, the default), the same times
$\\mathrm{silu}(z)$ (`gated`), or the block's, behind the output projection (`projected`, $C$
channels wide). Published readings differ (see `utr` and `hsa`); the default is the best of the
three on `dev`: of 1,000 images `vim_nano` keeps 59.2 and 28.2 % top-1 at 20 and 40 % fewer FLOPs
by `ungated`, 32.3 and 12.8 % by `gated`, 17.4 and 10.1 % by `projected`, and under
`--schedule staged` the order is the same:

    python -m suite compare --split dev --images 1000 --budgets 0.2,0.4,0.6 --no-baselines \\
        --schedule constant-ratio \\
        --methods "activation,activation[reading=gated],activation[reading=projected]"

`direction` reads the output of one scan; with `both` it is that of the block, which is its sum or
its mean. `projected` is of both always.

**Cost.** No matrix products; $E + 1$ operations a token ($C + 1$ if `projected`).
""",
)
