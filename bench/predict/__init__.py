"""The verb `predict`: a finished cell's model, on a user's own clips."""
