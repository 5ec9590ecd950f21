"""Datasets by name, the loader, augmentation and preprocessing."""
