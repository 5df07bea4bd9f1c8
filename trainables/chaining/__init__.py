"""The whole road of a search, one step after the other, within one budget of time."""
