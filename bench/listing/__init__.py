"""The rows of `ls`: models, data sets, suites, and cells, whether run or not, one file each."""
