"""The cache folder: where files are kept that can be downloaded or computed again."""

import os
from pathlib import Path

from halnet.errors import ConfigError

CACHE_VARIABLE = "HALNET_CACHE"  # environment variable that names the folder


def cache_folder() -> Path:
    """Return the cache folder: the one that HALNET_CACHE names, or else that of the user.

    On Linux, the latter is ~/.cache/halnet. Raises ConfigError if the user has no home folder.
    """
    import pooch

    try:
        folder = Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("halnet"))
        return folder.expanduser().absolute()
    except RuntimeError as error:
        raise ConfigError(
            "expected a cache folder, found that this user has no home folder; name a folder with "
            f"{CACHE_VARIABLE}"
        ) from error
