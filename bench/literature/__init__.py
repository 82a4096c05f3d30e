"""Published figures and claims of studies, and their conventions."""
