"""The version of the suite, from which the package's is read."""

VERSION = "0.1.0"
