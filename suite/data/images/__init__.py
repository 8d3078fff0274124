"""Image data sets: `fashion-clutter`, image folders, ImageNet, Tiny-ImageNet and Parquet files."""
