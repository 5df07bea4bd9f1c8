"""Recordings and pseudo-labels -> batches."""
