"""One cell under the clock: all that its weights depend on."""
