"""Bounds of the integers in INT8, for the training with simulated INT8 and for the export.

The integers are symmetric about zero: they lie from -LEVELS to LEVELS.
"""

LEVELS = 127  # 8 bits
# 7 bits, for weights: a CPU without VNNI adds pairs of products in 16 bits, and with 8-bit weights
# these sums can saturate.
WEIGHT_LEVELS = 63
