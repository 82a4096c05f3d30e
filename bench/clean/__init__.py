"""The verb `clean`."""
