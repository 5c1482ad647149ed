"""Calibration: which samples and statistics, and which nodes stay in floating point, for INT8."""
