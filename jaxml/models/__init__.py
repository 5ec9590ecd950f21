"""Networks and models, one file each; none knows training or data."""
