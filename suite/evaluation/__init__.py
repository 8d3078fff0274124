"""Evaluation of cells on batches of images: the tree of shared prefixes, outcomes, counts and order of tokens.

`suite.execution` calls it shard by shard.
"""
