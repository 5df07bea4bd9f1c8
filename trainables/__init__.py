"""Runs many configurations of `sed_model` on Ray: searches, stages, ensembles. One command a module."""
