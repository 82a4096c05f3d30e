"""The verb `speed`: what a training step and a prediction cost, beside what the device can do."""
