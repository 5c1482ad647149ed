"""The integers of INT8, for the training with simulated INT8 and for the export.

Those of weights are symmetric about zero: from -LEVELS to LEVELS, or from -WEIGHT_LEVELS to
WEIGHT_LEVELS.
"""

LEVELS = 127  # 8 bits
# 7 bits, for weights: a CPU without VNNI adds pairs of products in 16 bits, and with 8-bit weights
# these sums can saturate. With these, they reach at most 2 * 255 * 64 = 32640.
WEIGHT_LEVELS = 64
ACTIVATION_STEPS = 255  # from the smallest activation to the largest one, on CPUs
