"""The backbones, one file a family: Vim, VideoMamba, Mamba-Reg, PlainMamba, DeiT and ViT.

DeiT and ViT are attention controls. `sizes` lists every name with its configuration;
`backbones.create_model` builds a backbone by its name.
"""
