"""Reads run folders: checked tables in, typed tables and plots out. Never imports ray, sed_model or trainables."""
