"""The program of the command line."""

from bench.__main__ import program

__all__ = ["program"]
