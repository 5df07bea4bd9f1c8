"""The ensemble: its members, its soundscapes, its pseudo-labels."""
