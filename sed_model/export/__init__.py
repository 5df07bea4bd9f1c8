"""Graphs for other runtimes, and the parts of a folder for Kaggle."""
