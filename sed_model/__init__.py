"""A configuration and a folder of recordings go in, a trained and evaluated SED model comes out. Knows nothing of Ray."""
