"""Optimizers, schedules and what surrounds them, by name and as functions."""
