"""`halnet bench`: what is timed and judged, and the report of it."""
