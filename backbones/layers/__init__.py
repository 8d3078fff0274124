"""Layers of backbones: patches, positions, norms, mixers, blocks, attention.

`backbones.models` assembles them. `block` <- `mixer` <- `fused_path` <- `plain_path` <-
`scan_weights` is the order of imports; the scan itself is in `backbones.scan`.
"""
