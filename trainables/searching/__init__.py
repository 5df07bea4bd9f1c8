"""A search step by step; trainings and rounds of a student beside it."""
