"""The test of one cell: all code that its figures depend on beyond the weights."""
