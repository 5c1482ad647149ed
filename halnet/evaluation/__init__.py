"""Evaluation: predictions for labelled photos, their metrics, reports and plots."""
