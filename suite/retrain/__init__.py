"""Retraining: weights that are trained under a reduction, beside the same method without training.

`prepare` lays out a training for each method and budget, and one of the whole model as a control;
`train` carries them out by the loop of `suite.training`, `cells` adds what the new weights are to
be evaluated under to an ordinary comparison, and `tables` says how much of a loss was won back.
Used by ``python -m suite retrain``.
"""
