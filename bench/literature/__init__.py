"""What studies published and claimed, and how they counted."""
