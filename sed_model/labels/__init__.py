"""Rules from predictions to pseudo-labels, and what these are worth."""
