"""Checkpoints: find a file, read it safely, and fit its weights to a backbone.

`backbones.create_model` loads weights by `load`; `published` lists the files that authors published
and their scores, for the suite's tables and checks.
"""
