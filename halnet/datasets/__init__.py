"""Datasets: from a folder of photos to aligned crops with a fixed split."""
