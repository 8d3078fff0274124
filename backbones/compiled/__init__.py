"""Tools for compiled CPU kernels: single-precision functions, a cache, torch's own threads.

`backbones.scan` and `methods.fused` write their CPU kernels with them. `native` compiles and runs a
kernel, `cache` says where machine code is kept, and `ahead` compiles in another process.
"""
