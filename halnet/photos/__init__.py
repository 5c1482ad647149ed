"""Photos: the files that a user names, how they are decoded, and in which formats."""
