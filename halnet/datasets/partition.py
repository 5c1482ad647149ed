"""Partition: it decides the part of each photo, and which photos are rejected for that.

Photos of one person and copies of one photo stay in one part. Copies whose ages differ are
rejected. Photos of a split that exists stay in their parts.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from halnet.datasets.crop_hash import describe_crop
from halnet.datasets.cropping import PreparedPhoto
from halnet.datasets.origin import Origin
from halnet.datasets.prepared_dataset import crop_path, read_crop
from halnet.datasets.split import (
    SPLIT_FILE,
    SPLITS,
    Split,
    Unit,
    assign_parts,
    check_count,
    parse_shares,
    read_split,
    stratified_split,
)
from halnet.datasets.twins import ages_differ, connect, find_twins, members

AGES_DIFFER = "a copy of the photo has another age"
IN_TWO_PARTS = "a copy of the photo, or a photo of the person, is in the split "


@dataclass(frozen=True)
class Partition:
    """The decisions for the photos that have a crop, in their order."""

    split: Split
    parts: Sequence[str]  # "train", "val" or "test"; "" if the photo is rejected
    rejects: Sequence[str]  # why a photo is rejected; "" if it is not
    groups: Sequence[str]  # names of the groups that any photo has
    twins: int  # number of photos with a part that are copies of others
    twins_apart: int  # those with a copy in a part that comes before theirs in test, val, train
    twins_rejected: int  # number of copies whose ages differ


@dataclass
class _Photos:
    """What is known of the photos that have a crop. Each photo takes little memory."""

    sources: list[str] = field(default_factory=list)
    ages: list[tuple[int, int]] = field(default_factory=list)
    sexes: list[str] = field(default_factory=list)
    persons: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)  # known parts: of a split that exists, or stated
    hashes: dict[int, int] = field(default_factory=dict)  # by index; old results have none
    groups: dict[str, None] = field(default_factory=dict)  # names, in the order of appearance
    reasons: Counter[str] = field(default_factory=Counter)  # why other photos were rejected


def make_partition(
    out: Path, origin: Origin, results: Iterable[PreparedPhoto], keep_old_split: bool
) -> Partition:
    """Decide the parts of all photos without a reject. The prepared folder `out` has their crops.

    `keep_old_split` makes the split as older versions did. Raises DatasetError for fewer than 20
    photos, and ConfigError for wrong shares.
    """
    name, path = origin.name or origin.dataset, out / SPLIT_FILE
    existing = read_split(path) if path.exists() else None
    photos = _collect(results, existing.parts() if existing else {})
    twins = _find_twins(out, photos)
    rejects = [""] * len(photos.sources)
    if not keep_old_split:
        for copies in members(connect(len(rejects), twins)).values():
            if ages_differ(photos.ages[i] for i in copies):
                for i in copies:
                    rejects[i] = AGES_DIFFER
    twins_rejected = len(rejects) - rejects.count("")
    if keep_old_split and existing is None:
        lows = [low for low, _ in photos.ages]
        existing = stratified_split(name, photos.sources, lows, origin.seed)
        known = existing.parts()
        photos.parts = [known[source] for source in photos.sources]
    pairs = [] if keep_old_split else [*twins, *_same_person(photos)]
    parts = _assign(photos, rejects, pairs, origin)
    split = existing or Split(name, origin.seed, dict.fromkeys(SPLITS, ()))
    assigned = zip(photos.sources, parts, strict=True)
    return Partition(
        split=split.extended((source, part) for source, part in assigned if part),
        parts=parts,
        rejects=rejects,
        groups=list(photos.groups),
        twins=len({i for pair in twins if all(parts[j] for j in pair) for i in pair}),
        twins_apart=_count_apart(twins, parts),
        twins_rejected=twins_rejected,
    )


def _collect(results: Iterable[PreparedPhoto], known: dict[str, str]) -> _Photos:
    photos = _Photos()
    for result in results:
        if result.reject:
            photos.reasons[result.reject] += 1
            continue
        if result.hash:
            photos.hashes[len(photos.sources)] = int(result.hash, 16)
        photos.sources.append(result.source)
        photos.ages.append((result.age_low, result.age_high))
        photos.sexes.append(result.sex)
        photos.persons.append(result.person)
        photos.parts.append(known.get(result.source, result.split))
        photos.groups.update(dict.fromkeys(result.groups))
    return photos


def _find_twins(out: Path, photos: _Photos) -> list[tuple[int, int]]:
    indices = list(photos.hashes)

    @cache
    def describe(row: int) -> NDArray[np.float32]:
        return describe_crop(read_crop(crop_path(out, photos.sources[indices[row]])))

    hashes = np.array(list(photos.hashes.values()), np.uint64)
    return [(indices[i], indices[j]) for i, j in find_twins(hashes, describe)]


def _same_person(photos: _Photos) -> Iterator[tuple[int, int]]:
    """Yield pairs that connect all photos of each person."""
    first: dict[str, int] = {}
    for i, person in enumerate(photos.persons):
        if person:
            yield first.setdefault(person, i), i


def _assign(
    photos: _Photos, rejects: list[str], pairs: list[tuple[int, int]], origin: Origin
) -> list[str]:
    """Return the part of each photo, and add the reasons of photos that belong to two parts."""
    parts = [""] * len(rejects)
    kept_pairs = ((i, j) for i, j in pairs if not rejects[i] and not rejects[j])
    groups, units = [], []
    for group in members(connect(len(rejects), kept_pairs)).values():
        known = {photos.parts[i] for i in group}
        part = next((name for name in reversed(SPLITS) if name in known), "")
        kept = []
        for i in group:
            if photos.parts[i] not in ("", part):
                rejects[i] = IN_TWO_PARTS + part
            if not rejects[i]:
                kept.append(i)
        if kept:
            groups.append(kept)
            units.append(_unit(photos, kept, part))
    shares = parse_shares(origin.shares)
    is_divided = max(shares.values()) < 1 and any(not unit.part for unit in units)
    if is_divided or not units:
        check_count(sum(unit.photos for unit in units), _describe(photos.reasons))
    for kept, part in zip(groups, assign_parts(units, shares, origin.seed), strict=True):
        for i in kept:
            parts[i] = part
    return parts


def _describe(reasons: Counter[str]) -> str:
    """Return what an error states of the photos that were rejected."""
    if not reasons:
        return ""
    [(reason, count)] = reasons.most_common(1)
    return f", and {reasons.total()} rejected photos, {count} of them with the reason: {reason}"


def _unit(photos: _Photos, indices: list[int], part: str) -> Unit:
    first = min(indices, key=lambda i: photos.sources[i])
    age = sum(sum(photos.ages[i]) for i in indices) / (2 * len(indices))
    return Unit(photos.sources[first], age, photos.sexes[first], len(indices), part)


def _count_apart(twins: list[tuple[int, int]], parts: Sequence[str]) -> int:
    """Return how many photos have a copy in a part that keeps it: the test, or validation."""
    losing = set()
    for pair in twins:
        known = [parts[i] for i in pair]
        if all(known) and known[0] != known[1]:
            losing.add(min(pair, key=lambda i: SPLITS.index(parts[i])))
    return len(losing)
