"""Run folders in use: who writes to one, what is in it, what can go."""
