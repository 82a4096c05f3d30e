"""The training of one cell: all code that its weights depend on."""
