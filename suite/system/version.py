"""The version of the suite, from which the package's is read."""

__version__ = "0.1.0"
