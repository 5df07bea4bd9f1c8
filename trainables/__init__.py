"""Runs many configurations of `sed_model` on Ray: searches, stages, ensembles. One command a module."""

import sed_model as sed_model  # looks whether this Python has the packages
