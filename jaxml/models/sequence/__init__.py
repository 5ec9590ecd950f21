"""Networks over sequences: recurrent, convolutional and state-space."""
