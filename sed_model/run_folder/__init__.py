"""The contract of a run folder: columns, readers, ranking. No torch, no Ray."""
