"""What every model and data set must do, one check a promise."""
