"""Words of a report: how its rates, means and counts read."""

import math

from halnet.audit.figures import StatedMean, StatedRate
from halnet.evaluation.rates import TOO_FEW


def percent(share: float) -> str:
    """Return a share from 0 to 1 in percent, with one digit after the point."""
    return f"{100 * share:.1f} %"


def _bound_text(share: float, up: bool) -> str:
    """Return a bound in percent, rounded to the safe side: up for a largest share, or down."""
    digits = 1 if 0.001 <= share <= 0.999 else 3
    rounded = (math.ceil if up else math.floor)(round(share * 10 ** (digits + 2), 6))
    return f"{rounded / 10**digits:.{digits}f} %"


def rate_text(rate: StatedRate | None) -> str:
    """Return a rate with its interval; if nothing or everything was seen, with its bound."""
    if rate is None or rate.share is None or rate.low is None or rate.high is None:
        return TOO_FEW
    if rate.bound is not None and not rate.hits:
        return f"none of {rate.count:,} (at most {_bound_text(rate.bound, up=True)})"
    if rate.bound is not None:
        return f"all of {rate.count:,} (at least {_bound_text(rate.bound, up=False)})"
    return f"{percent(rate.share)} ({100 * rate.low:.1f} to {100 * rate.high:.1f})"


def rate_of(rate: StatedRate, photos: str) -> str:
    """Return a rate as part of a sentence, with its number of photos; `photos` says of whom.

    It reads "2.8 % (1.6 to 4.4) of 614 photos of adults", or "none of 614 photos of adults (at most
    0.5 %)".
    """
    text = rate_text(rate)
    if rate.bound is None:
        return f"{text} of {rate.count:,} {photos}"
    return text.replace(" (", f" {photos} (")


def mean_text(mean: StatedMean) -> str:
    """Return a mean in years with its interval."""
    if mean.value is None or mean.low is None or mean.high is None:
        return TOO_FEW
    return f"{mean.value:.2f} ({mean.low:.2f} to {mean.high:.2f})"


def p_text(p: float) -> str:
    """Return a p-value."""
    return "below 0.001" if p < 0.001 else f"{p:.3f}"


def join_words(words: list[str]) -> str:
    """Return words as part of a sentence, such as "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
