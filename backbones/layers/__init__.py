"""The layers that vision Mamba backbones are built of: patches, positions, norms, mixers and blocks.

`backbones.models` assembles them; the scan itself is in `backbones.scan`.
"""
