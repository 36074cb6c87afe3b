"""cvkit: a command-line toolkit for computer vision."""

__version__ = "0.1.0"
