"""The harness: trains every model x data set pair under one budget and compares them."""

__version__ = "0.1.0"
