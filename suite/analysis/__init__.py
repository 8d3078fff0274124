"""Tables derived from a run's outcomes: statistics, headline, ablation, overlap of kept tokens, gallery.

`suite.comparison` calls them when all cells are evaluated.
"""
