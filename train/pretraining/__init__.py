"""Data and optimizer of pre-training."""
