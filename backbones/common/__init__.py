"""What all packages share: user errors, registries, names with settings, bounded file readers.

Nothing here imports another package of the project.
"""
