"""Sets two runs of cells side by side: one with its repetition (verify), or any two (diff)."""
