"""The version of this package: that of the daemon it comes with."""

__version__ = "0.1.0"
