"""Test figures: all that they depend on beyond the weights."""
