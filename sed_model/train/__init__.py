"""Losses, optimisers, the epoch loop, validation."""
