"""Training: the step, the loop, checkpoints, logs. It takes a loss, knows no model."""
