"""The profile of a model: how long each of its nodes takes."""
