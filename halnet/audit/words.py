"""Words of a report: how its rates, means and counts read."""

from halnet.audit.figures import StatedMean, StatedRate
from halnet.evaluation.rates import TOO_FEW


def percent(share: float) -> str:
    """Return a share from 0 to 1 in percent, with one digit after the point."""
    return f"{100 * share:.1f} %"


def rate_text(rate: StatedRate | None) -> str:
    """Return a rate with its interval; if nothing or everything was seen, with its bound."""
    if rate is None or rate.share is None or rate.low is None or rate.high is None:
        return TOO_FEW
    if rate.bound is not None and not rate.hits:
        return f"none of {rate.count} (at most {percent(rate.bound)})"
    if rate.bound is not None:
        return f"all of {rate.count} (at least {percent(rate.bound)})"
    return f"{percent(rate.share)} ({100 * rate.low:.1f} to {100 * rate.high:.1f})"


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
