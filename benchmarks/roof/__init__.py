"""The roof: the least time that a model can take on this machine."""
