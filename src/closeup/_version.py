"""The version of the package, where the build and every room read it."""

__version__ = "0.1.0"
