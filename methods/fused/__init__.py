"""The reduction in one pass, compiled for a CPU and as Triton programs for a GPU: see `dispatch`.

Importing this package imports no torch, because the compiling process needs none.
"""
