"""The verbs on data sets: prepare one, list their state, check one, draw clips of one."""
