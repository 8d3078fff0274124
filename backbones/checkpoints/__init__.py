"""Checkpoints: where a file is, how it is read safely, and how its weights are fitted to a backbone.

`backbones.create_model` loads weights by `load`; `published` lists the files that authors published
and their scores, for the suite's tables and checks.
"""
