"""The verbs on data sets: prepare one, say what is there, show clips of one."""
