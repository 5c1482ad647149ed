"""Refusals of a report: how often a check gives no result, why, for whom, and what that changes.

A check refuses a photo in which it finds no face or several, and a face whose age it cannot judge
well enough (`halnet.checks.reasons`). All other figures of a report are of all photos with a face,
whether a check would refuse them or not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from halnet.audit.age_checks import LEGAL_AGES
from halnet.audit.figures import StatedMean, StatedRate
from halnet.audit.judging import JudgedPhotos, find_refused
from halnet.audit.schema import about
from halnet.audit.slices import KINDS, YEAR, find_slices
from halnet.checks.policy import MARGIN
from halnet.datasets.record import Record
from halnet.evaluation.predictions import Predictions

ANY = "any reason"


@dataclass(frozen=True)
class Refusal:
    """How often a check gives no result, for one reason and some people."""

    kind: str = field(metadata=about("What the photos have in common.", values=KINDS))
    name: str = field(metadata=about("Which of these, such as 30-39 or race: Black."))
    reason: str = field(metadata=about(f"Why there is no result, or {ANY}."))
    refused: StatedRate = field(metadata=about("Photos for which a check gives no result."))


@dataclass(frozen=True)
class GateEffect:
    """What a check does at one legal age, with and without the photos that it refuses."""

    legal: int = field(metadata=about("Legal age, years."))
    challenge: int = field(metadata=about("Challenge age, years."))
    no_result_below: StatedRate = field(
        metadata=about("People below the legal age for whom there is no result.")
    )
    no_result_of_age: StatedRate = field(
        metadata=about("People of legal age for whom there is no result.")
    )
    let_through: StatedRate = field(
        metadata=about("People below the legal age whose estimated age is high enough.")
    )
    let_through_judged: StatedRate = field(
        metadata=about("The same, among those for whom there is a result.")
    )
    referred: StatedRate = field(
        metadata=about("People of legal age whose estimated age is too low.")
    )
    referred_judged: StatedRate = field(
        metadata=about("The same, among those for whom there is a result.")
    )


@dataclass(frozen=True)
class Refusals:
    """How often a check gives no result, and what that changes."""

    looked_for: tuple[str, ...] = field(metadata=about("All reasons that were looked for."))
    not_known: int = field(
        metadata=about("Photos whose landmarks are not known, which the rates leave out.", 0)
    )
    rates: tuple[Refusal, ...]
    refused_error: StatedMean = field(
        metadata=about("Mean distance to the true age (or range) of the refused faces.")
    )
    judged_error: StatedMean = field(metadata=about("The same of all other faces."))
    effects: tuple[GateEffect, ...]


def measure_refusals(judged: JudgedPhotos, predictions: Predictions) -> Refusals:
    """Return the refusals of all photos; `predictions` are those of the photos with a face."""
    _, known = find_refused(judged.reasons)
    refused, known_faces = find_refused(judged.reasons_of_faces)
    error = np.abs(predictions.error)
    return Refusals(
        judged.looked_for,
        int((~known).sum()),
        tuple(_measure_rates(judged)) if known.any() else (),
        StatedMean.of(error[refused]),
        StatedMean.of(error[known_faces & ~refused]),
        tuple(_measure_effects(judged, predictions)) if known.any() else (),
    )


def _measure_rates(judged: JudgedPhotos) -> Iterator[Refusal]:
    """Yield all reasons for all photos, and for each slice any reason and those that occur."""
    refused, known = find_refused(judged.reasons)
    hits = {ANY: refused}
    for reason in judged.looked_for:
        hits[reason] = np.array([reason in (why or ()) for why in judged.reasons], bool)
    occurring = [reason for reason, own in hits.items() if reason == ANY or own.any()]
    for number, part in enumerate(find_slices(_label(judged.asked))):
        if part.kind == YEAR or not (part.chosen & known).any():
            continue
        for reason in hits if number == 0 else occurring:
            rate = StatedRate.among(hits[reason], part.chosen & known)
            yield Refusal(part.kind, part.name, reason, rate)


def _measure_effects(judged: JudgedPhotos, predictions: Predictions) -> Iterator[GateEffect]:
    asked_refused, asked_known = find_refused(judged.reasons)
    low = np.array([record.age_low for record in judged.asked])
    high = np.array([record.age_high for record in judged.asked])
    refused, known = find_refused(judged.reasons_of_faces)
    for legal in LEGAL_AGES:
        challenge = legal + MARGIN
        passed = predictions.age >= challenge
        below, of_age = predictions.label_high < legal, predictions.label_low >= legal
        yield GateEffect(
            legal,
            challenge,
            StatedRate.among(asked_refused, asked_known & (high < legal)),
            StatedRate.among(asked_refused, asked_known & (low >= legal)),
            StatedRate.among(passed, below & known),
            StatedRate.among(passed, below & known & ~refused),
            StatedRate.among(~passed, of_age & known),
            StatedRate.among(~passed, of_age & known & ~refused),
        )


def _label(records: Sequence[Record]) -> Predictions:
    """Return the labels of N photos, some of which have no face: all predictions are NaN."""
    unknown = np.full(len(records), np.nan)
    names = sorted({name for record in records for name in record.groups})
    return Predictions(
        source=tuple(record.source for record in records),
        sex=tuple(record.sex for record in records),
        label_low=np.array([record.age_low for record in records], np.float64),
        label_high=np.array([record.age_high for record in records], np.float64),
        age=unknown,
        stddev=unknown,
        low=unknown,
        high=unknown,
        adult=unknown,
        dataset=tuple(record.dataset for record in records),
        groups={name: tuple(r.groups.get(name, "") for r in records) for name in names},
    )
