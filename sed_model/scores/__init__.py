"""Metrics, out-of-fold predictions, the choice of members, scores of frames."""
