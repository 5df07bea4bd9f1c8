"""Augmentations of waveforms, of log-mels and of batches."""
