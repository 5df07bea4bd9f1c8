"""The folder that predicts by itself on Kaggle."""
