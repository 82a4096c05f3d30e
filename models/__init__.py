"""One architecture per file, named as in its paper; `layers` holds what several share."""
