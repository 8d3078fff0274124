"""The reduction compiled for a CPU by Numba; `methods.fused.dispatch` decides when it is used."""
