"""From files to batches of normalised pixels, decoded ahead of the model.

`decode` and `pixels` turn bytes into arrays, `preprocess` applies a model's published
preprocessing, `loader` delivers batches, and `compiled` compiles loops with numba. Used by the data
sets and by everything that runs a model on them.
"""
