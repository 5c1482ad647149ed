"""Videos: files and live sources, read frame by frame and written."""
