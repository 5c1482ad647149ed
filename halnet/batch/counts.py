"""Counts: how many photos and faces there are in results."""

from dataclasses import asdict, dataclass

from halnet.batches import PhotoResult


@dataclass
class Counts:
    """How many photos and faces there are in the results of a shard, or of several."""

    photos: int = 0
    faces: int = 0
    without_face: int = 0  # photos
    unread: int = 0  # photos

    def add(self, other: "Counts") -> None:
        """Add the counts of other results."""
        for name, count in asdict(other).items():
            setattr(self, name, getattr(self, name) + count)

    def count(self, result: PhotoResult) -> None:
        """Count the result of a photo."""
        self.photos += 1
        self.faces += len(result.faces)
        self.unread += result.error is not None
        self.without_face += result.error is None and not result.faces
