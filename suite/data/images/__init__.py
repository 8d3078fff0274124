"""Image data sets.

`fashion-clutter` and `fashion-mnist` are made of bundled or downloaded garments; `imagefolder`,
`imagenet`, `parquet` and `tiny-imagenet` read a user's files, `ade20k` and `masks` those that have
a class for each pixel. Opened through
`suite.data.open_dataset`; `suite.training` also draws variants of `fashion-clutter`.
"""
