"""Dense prediction: segmentation heads over any backbone, whose reduced tokens are spread again.

`segmenter` wraps a backbone, `memory` keeps what its readout needs of earlier blocks and of tokens
that are gone, `heads` turn maps of features into logits. `backbones.unreduce` undoes a reduction.
"""
