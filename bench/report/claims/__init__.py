"""Claims of studies beside the figures measured here, with the verdict of the statistics."""
