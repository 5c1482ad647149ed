"""Age checks: whether a photo shows a person who looks clearly older than a legal age."""
