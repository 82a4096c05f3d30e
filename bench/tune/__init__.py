"""The verb tune: the same number of trials for every model, chosen on validation."""
