"""The reduction in one pass: see `inference`. Importing this package imports no torch: a compiler needs none."""
