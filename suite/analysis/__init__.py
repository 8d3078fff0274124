"""Tables derived from a run's outcomes: statistics, ablation, overlap of kept tokens, gallery.

`suite.comparison` calls `comparison_tables` when all cells are evaluated; `suite.merge` repeats for
several runs what depends on pairs of cells. Every analysis returns its tables by name, and
`suite.analysis.write` writes them.
"""
