"""The verbs on data sets: prepare one, list their state, draw clips of one."""
