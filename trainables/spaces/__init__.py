"""A search space: YAML -> distributions, conditions, settings, rungs."""
