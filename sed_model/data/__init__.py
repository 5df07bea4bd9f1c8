"""Data folders of every layout -> checked tables, splits and targets; demo data."""
