"""Sensitivity analysis: the exact effect of removing each token before each block.

It shows at which positions and blocks a backbone depends on its tokens, which scores predict that,
and how well gradients estimate it. `suite.cli.sensitivity` runs it; `reports.sections` draws its
tables.

Files, in the order of the work: `spec` (settings), `selection` (option values), `analysis` (the
main path), `single_block` (methods that reduce before one block), `image_probes` and `probe` (one
image at a time), `gradient_estimates`, `token_tables` and `intervals` (tables over images),
`headline` (sentences), `output` (terminal and JSON).
"""
