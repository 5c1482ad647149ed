"""Adapters: the scripts that run a peer in an environment of its own."""
