"""What compiled CPU kernels are written with: numba's names, single-precision functions, torch's own threads."""
