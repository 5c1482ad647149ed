"""Views: the photos of one person, and each frame of the videos of this person."""

import math
import os
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from halnet.errors import ConfigError, ImageError
from halnet.faces.photo_view import PhotoView
from halnet.videos.video import display_name, is_live, is_video
from halnet.videos.video_file import VideoFile


def open_views(photos: Any, every: float = 0.0) -> Generator[PhotoView]:
    """Return a generator of the views of each photo, and of each frame of each video file.

    `photos` is one item, or a list, tuple or generator of items. An item is a photo, as for
    `Predictor`, a view of one, or the path of a video file. A video gives every frame, or one frame
    every `every` seconds. One photo or frame is in memory at a time.

    Raises ConfigError at once for a wrong `every`, and for the name of a camera or stream.
    Iteration raises ImageError for an item that cannot be read, and for a video that is damaged or
    cut off, after its last frame. The error states the path of the item, or its place in the list.
    """
    if not 0 <= every < math.inf:
        raise ConfigError(f"every: expected a finite number of seconds from 0 up, found {every}")
    if isinstance(photos, Generator):
        return _open_items(photos, every)
    if not isinstance(photos, list | tuple):
        photos = [photos if _is_path(photos) else _view(photos)]
    for item in photos:
        _check_live(item)
    return _open_items(photos, every)


def _open_items(items: Iterable[Any], every: float) -> Generator[PhotoView]:
    for place, item in enumerate(items):
        if not _is_path(item):
            yield _view_in_list(item, f"photo {place} (counted from 0)")
            continue
        _check_live(item)
        if is_video(item):
            with VideoFile(item, every) as video:
                for frame in video:
                    yield PhotoView(frame.image)
        elif Path(item).is_dir():
            raise ImageError(
                f"{item}: expected a photo or a video file, found a folder; name the photos of the "
                "person in it"
            )
        else:
            yield PhotoView(item)


def _view(item: Any) -> PhotoView:
    return item if isinstance(item, PhotoView) else PhotoView(item)


def _view_in_list(item: Any, name: str) -> PhotoView:
    """Return a view. Errors begin with the name, also for an array, which has none."""
    if isinstance(item, PhotoView):
        return item
    try:
        return PhotoView(item, name)
    except ImageError as error:
        text = str(error)
        raise ImageError(text if text.startswith(name) else f"{name}: {text}") from error


def _is_path(item: Any) -> bool:
    return isinstance(item, str | os.PathLike)


def _check_live(item: Any) -> None:
    """Raise ConfigError for the name of a camera or stream: a check of it would never end."""
    if _is_path(item) and is_live(item):
        raise ConfigError(
            f"{display_name(item)}: a check takes photos and video files, found a live source; "
            "record it into a file first"
        )
