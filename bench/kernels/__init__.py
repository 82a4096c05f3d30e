"""Convolutions of our own, for every model whose layers they fit."""
