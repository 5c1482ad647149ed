"""Training: prepared dataset to checkpoint. The only part of the library that needs PyTorch."""
