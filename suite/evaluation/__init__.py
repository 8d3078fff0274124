"""Evaluation of cells on images, used by `suite.execution` and by the gallery's pictures.

`runner` loads the batches of a shard and evaluates every cell of a backbone on each; `tree` runs
what cells share once. `tasks` says what is kept of an image under a cell, over `outcomes` of
classification and `segmentation`; `token_counts` and `token_order` what is kept of its tokens.
`views` averages over the clips of a video. `oracle` ranks tokens by the label, with the variants of
a sequence that `token_edits` makes; those serve `suite.sensitivity`, too.
"""
