"""Training of the bundled backbones by resumable recipes."""
