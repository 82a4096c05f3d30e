"""The statistics of the report: intervals, paired comparisons, sentences on them, ranks."""
