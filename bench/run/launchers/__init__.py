"""Ways to run cells: on this machine, each in a process of its own."""
