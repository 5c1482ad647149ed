"""The network that HAL-Net trains, runs with PyTorch and exports."""
