"""This machine: its limits, and what to set where they are too low."""
