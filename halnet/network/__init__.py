"""The network: what is trained, run by PyTorch and exported."""
