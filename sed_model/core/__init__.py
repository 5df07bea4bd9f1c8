"""Errors, files, paths: what every other package stands on."""
