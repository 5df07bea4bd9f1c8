"""Windows of soundscapes -> scores -> submissions and events."""
