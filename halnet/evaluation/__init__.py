"""Evaluation: predictions for photos with known ages, their metrics and their plots."""
