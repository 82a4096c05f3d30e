"""The contracts of models, data sets and metrics, as checks."""
