"""Tuning: every method under the same settings on the same images, and the best one of each.

All methods have equally many tries, the blind baselines too. `suite.cli.tune` runs it; the table of
tries that it writes (`suite.tries`) answers for other runs.

Files, in the order of the work: `spec` (settings of the command), `prepare` (a cell for each try),
`run` (the main path), `collect` (from cells to tables of tries), `output` (terminal and JSON).
"""
