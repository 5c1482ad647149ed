"""The licence of a model's weights, as reports state it."""

from halnet.artifact import Metadata


def describe_licence(metadata: Metadata) -> str:
    """Return the licence of the weights and its terms; "" if the model file states neither."""
    return ": ".join(part for part in (metadata.licence, metadata.terms) if part)
