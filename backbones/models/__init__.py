"""The backbones, one file a family: Vim, VideoMamba, Mamba-Reg, PlainMamba, and DeiT and ViT as attention controls.

`backbones.create_model` builds them by name.
"""
