"""Flax modules and tables that Flax lacks and several models share."""
