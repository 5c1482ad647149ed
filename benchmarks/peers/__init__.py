"""Peers: other packages that estimate ages, timed and judged on the same photos as halnet."""
