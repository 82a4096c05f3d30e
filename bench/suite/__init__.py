"""A suite file, and the cells it settles to."""
