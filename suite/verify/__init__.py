"""What `verify` holds the suite to, a line each: kernels, backbones, methods, checkpoint layouts, published FLOPs."""
