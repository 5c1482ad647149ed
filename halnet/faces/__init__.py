"""Faces: from a photo to the faces in it and their aligned crops."""
