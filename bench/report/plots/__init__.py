"""Every plot of a section, one kind a file; `canvas.py` is what they share."""
