"""Decoding, the cache of decoded recordings, windows of it."""
