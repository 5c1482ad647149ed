"""The comparison: the photos, the peers that answer for them, and the judgement of the answers."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from functools import partial
from pathlib import Path

import click

from halnet.artifact import bundled
from halnet.benchmarks.machine import Conditions, describe_load, machine
from halnet.benchmarks.peers.answers import About, PeerError
from halnet.benchmarks.peers.environments import Environment, prepare
from halnet.benchmarks.peers.judging import Judgement, judge
from halnet.benchmarks.peers.known_peers import PEERS
from halnet.benchmarks.peers.process import PeerProcess
from halnet.benchmarks.peers.reports import Comparison, Running
from halnet.benchmarks.peers.turns import ask_in_turns
from halnet.benchmarks.samples import PORTRAIT
from halnet.cores import find_cores
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import Record, exact_records
from halnet.errors import DatasetError

WARM_UP = 3  # photos after the first one that are not timed
Sets = Mapping[str, tuple[Sequence[Record], Sequence[Path]]]  # by the name of the dataset


def find_photos(data: Sequence[Path], photos: Sequence[Path], split: str, limit: int) -> Sets:
    """Return the records of each dataset with exact ages, and the paths of their raw photos.

    Raises DatasetError if a photo is missing, or if an index has no landmarks.
    """
    found: dict[str, tuple[Sequence[Record], Sequence[Path]]] = {}
    sets = DataCollection([PreparedDataset(folder) for folder in data]).sets
    for (name, dataset), folder in zip(sets.items(), photos, strict=True):
        records = exact_records(dataset.select(split, limit))
        paths = [(folder / record.source).absolute() for record in records]
        for record, path in zip(records, paths, strict=True):
            if not path.is_file():
                raise DatasetError(
                    f"{path}: expected a raw photo of {name}, found none; name their folder with "
                    "--photos"
                )
            if not record.landmarks:
                raise DatasetError(
                    f"{dataset.root}: expected an index with landmarks, found none for "
                    f"{record.source}; run halnet prepare into a new folder"
                )
        found[name] = (records, paths)
    return found


def install(
    names: Sequence[str], out: Path, checkout: Path, pythons: Mapping[str, Path]
) -> tuple[dict[str, Environment], dict[str, str]]:
    """Return the environment of each peer, in folders of `out`, and why others have none.

    See `halnet.benchmarks.peers.environments.prepare`.
    """
    environments: dict[str, Environment] = {}
    failed: dict[str, str] = {}
    for name in names:
        click.echo(f"{name}: installing", err=True)
        folder = out.absolute() / name
        try:
            environments[name] = prepare(name, PEERS[name], folder, checkout, pythons)
        except PeerError as error:
            failed[name] = str(error)
    return environments, failed


def compare(
    environments: Mapping[str, Environment],
    sets: Sets,
    variables: Mapping[str, str],
    patience: float,
    before: Conditions,
    skipped: Mapping[str, str],
) -> Comparison:
    """Start all peers, ask them for all photos, and judge their answers.

    `variables` are the environment variables of their processes, and `before` is how busy the
    machine was before this program did anything. `skipped` states why other peers take no part; the
    result has those that fail too.
    """
    cores = find_cores()
    failed = dict(skipped)
    running: dict[str, Running] = {}
    judged: dict[str, dict[str, Judgement]] = {}
    with ExitStack() as stack:
        processes: dict[str, PeerProcess] = {}
        for name, environment in environments.items():
            click.echo(f"{name}: starting", err=True)
            try:
                process, about, seconds = _start(stack, environment, variables, patience)
            except PeerError as error:
                failed[name] = str(error)
                continue
            processes[name] = process
            running[name] = Running(PEERS[name], about, seconds, environment.megabytes)
        for dataset, (records, paths) in sets.items():
            show = partial(_show_progress, dataset, len(paths))
            answers, reasons = ask_in_turns(processes, paths, show)
            for name, reason in reasons.items():
                failed[name] = f"{dataset}: {reason}"
                del processes[name]
            if answers:
                judged[dataset] = judge(answers, records)
    return Comparison(
        date=date.today().isoformat(),
        machine=f"{machine()}, {cores.usable} cores",
        load=before.load,
        is_busy=bool(describe_load(before, cores)),
        running=running,
        sets=judged,
        skipped=failed,
    )


def _start(
    stack: ExitStack, environment: Environment, variables: Mapping[str, str], patience: float
) -> tuple[PeerProcess, About, float]:
    """Return a peer that is warm, what it states about itself, and its start-up time in seconds.

    It is started twice, and the second time counts: then the system has its files in memory.
    """
    portrait = bundled(PORTRAIT)
    open_process = partial(
        PeerProcess,
        environment.command,
        environment.folder / "errors.log",
        environment.folder,
        variables,
        patience,
    )
    with open_process() as process:
        process.start(portrait)
    process = stack.enter_context(open_process())
    about, seconds = process.start(portrait)
    for _ in range(WARM_UP):
        process.ask(portrait)
    return process, about, seconds


def _show_progress(dataset: str, count: int, done: int) -> None:
    click.echo(f"{dataset}: {done} of {count} photos", err=True)
