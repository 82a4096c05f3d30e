"""What the figures allow to say: intervals, pairs of models, sentences on them, ranks."""
