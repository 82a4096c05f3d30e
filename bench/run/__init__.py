"""The verb `run`: plan, launch, watch, record."""
