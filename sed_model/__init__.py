"""A configuration and a folder of recordings go in, a trained, evaluated model comes out. Knows nothing of Ray."""
