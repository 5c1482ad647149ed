"""The table of the forms of INT8 that LiteRT runs.

It has a file of its own, because the quantizer imports LiteRT and the command line does not.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """One form of INT8. Weights have 8 bits in each."""

    activation_bits: int | None  # None: activations are float32, and weights are converted to it
    words: str


FORMS = {
    "w8": Form(None, "8-bit weights, float32 activations"),
    "w8a8": Form(8, "8-bit weights and activations"),
    "w8a16": Form(16, "8-bit weights, 16-bit activations"),
}
