"""Models that make data: autoencoders, adversarial networks, diffusion and flows."""
