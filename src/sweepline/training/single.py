"""The entry of one run under its first name, by which programs outside of this package import it."""

from sweepline.training.commandline import leave, main

__all__ = ["leave", "main"]
