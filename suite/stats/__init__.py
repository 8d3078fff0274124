"""Paired statistics on per-image outcomes."""

from suite.stats.blind_baselines import Mark, against_blind, marks_frame, unbeaten
from suite.stats.compare import Comparison, compare, compare_to_reference
from suite.stats.correctness import Outcomes
from suite.stats.headline import Setting, headline, pair
from suite.stats.median import median_interval
from suite.stats.paired import McNemar, Spread, bootstrap, mcnemar, sign_flip
from suite.stats.power import smallest_detectable
from suite.stats.relative import difference_spread, kept, kept_spread
from suite.stats.single import holm, wilson
from suite.stats.verdict import Verdict, verdict

__all__ = [
    "Comparison",
    "Mark",
    "McNemar",
    "Outcomes",
    "Setting",
    "Spread",
    "Verdict",
    "against_blind",
    "bootstrap",
    "compare",
    "compare_to_reference",
    "difference_spread",
    "headline",
    "holm",
    "kept",
    "kept_spread",
    "marks_frame",
    "mcnemar",
    "median_interval",
    "pair",
    "sign_flip",
    "smallest_detectable",
    "unbeaten",
    "verdict",
    "wilson",
]
