"""Shared by all packages: user errors, registries, names with settings, file readers.

Nothing here imports another package of the project.
"""
