"""Calibration for INT8: measures ranges and decides which layers are kept in floating point."""
