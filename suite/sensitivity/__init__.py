"""Where a backbone feels the loss of a token: which positions, which layers, and which scores know it."""
