"""The error that says what was wrong in what was asked for."""

from bench.errors import UserError

__all__ = ["UserError"]
