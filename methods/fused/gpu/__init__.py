"""The reduction as Triton kernels for a GPU; `methods.fused.dispatch` decides when it is used."""
