"""Log-mel front end, backbone, attention head; their checkpoints and devices."""
