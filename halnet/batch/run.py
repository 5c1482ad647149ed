"""One run of `halnet batch`: the shards of a source, predicted by the workers of Ray Data.

Ray passes only the numbers of shards to the workers and their counts back, and each worker has one
shard at a time. Photos and faces are never in the memory that Ray shares, or in the process that
starts the run. If a worker ends, Ray starts another one and gives it the shard again.
"""

import logging
import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from halnet.artifact import CHECKPOINTS
from halnet.batch.config import BatchConfig, Plan
from halnet.batch.counts import Counts
from halnet.batch.parts import open_source
from halnet.batch.ray_session import ray_session
from halnet.batch.result_folder import ResultFolder
from halnet.batch.storage import is_address, open_storage
from halnet.batch.worker import BatchWorker
from halnet.cores import find_cores
from halnet.errors import ConfigError
from halnet.faces.yunet_file import YUNET_VARIABLE
from halnet.files import check_folder, locked
from halnet.prediction_run import OpenProgress, RunOutcome, open_predictor
from halnet.result_files import model_name
from halnet.runtimes.backends import find_address
from halnet.runtimes.base import RuntimeSpec

ATTEMPTS = 3  # at a shard, if the worker that has it ends; a photo may be what ends it


@dataclass(frozen=True)
class BatchSummary:
    """What is in the result folder after a run."""

    out: str
    counts: Counts
    skipped: int  # photos of these whose results were there before the run
    left_out: dict[str, int]  # counts of what is left out of the source, by the reason
    outcome: RunOutcome


def run_batch(
    config: BatchConfig,
    on_start: Callable[[RuntimeSpec, int], None] = lambda spec, skipped: None,
    open_progress: OpenProgress = lambda label: nullcontext(lambda done, total: None),
) -> BatchSummary:
    """Predict all photos of a source, and write their faces into Parquet files.

    `on_start` is called once before the work, with the runtime's specification and the number of
    photos whose results are there already. Everything that was written stays if the run fails or is
    killed, and another run continues it.

    Raises ConfigError for a source, a result folder or a cluster that cannot be used, if results
    cannot be written, and if photos remain because their workers ended or failed; what
    `open_predictor` raises; and RuntimeUnavailableError without Ray.
    """
    config = _with_absolute_paths(config)
    out = open_storage(config.out)
    if out.folder:
        check_folder(out.folder)
    source = open_source(config.source, config.column, config.id_column)
    if source.includes(out):
        raise ConfigError(
            f"{out.name}: expected a folder for the results that is not in SOURCE, found that "
            f"{source.name} includes it; name another folder"
        )
    with open_predictor(config.prediction, 1) as predictor:  # what is wrong with it is known now
        spec = predictor.spec
    settings = config.settings(source.name, spec)
    with ExitStack() as stack:
        folder = ResultFolder(out)
        if out.folder:
            stack.enter_context(locked(out.folder, "batch"))
            stack.callback(folder.remove_empty)
        plan = _find_plan(config, folder, settings)
        if plan is None or _missing(folder, plan):
            pool = stack.enter_context(_open_pool(config))
        if plan is None:  # only now, so that a run that cannot begin leaves nothing
            plan = folder.make_plan(source, settings, config.shard, pool.workers)
        remaining = _missing(folder, plan)
        counts = folder.count(plan, sorted(set(range(len(plan.photos))).difference(remaining)))
        skipped = counts.photos
        on_start(spec, skipped)
        if remaining:
            with open_progress("photos") as on_progress:
                for done in _predict(pool, config, model_name(spec), plan.run, remaining):
                    counts.add(done)
                    on_progress(counts.photos, sum(plan.photos))
            folder.check_run(plan.run)
            _check_complete(folder, plan)
    return BatchSummary(folder.name, counts, skipped, plan.left_out, _outcome(counts, plan.is_loss))


def _with_absolute_paths(config: BatchConfig) -> BatchConfig:
    """Return a configuration whose files are found from any folder, and with fixed threads."""

    def absolute(path: Any) -> Any:
        return Path(os.path.abspath(path)) if isinstance(path, str | Path) else path

    def place(text: str) -> str:
        return text if is_address(text) else os.path.abspath(text)

    model = config.prediction.model
    is_path = model is not None and str(model) not in CHECKPOINTS and find_address(model) is None
    prediction = replace(
        config.prediction,
        model=absolute(model) if is_path else model,
        # The workers of a cluster that exists do not have the variables of this process.
        detector=absolute(config.prediction.detector or os.environ.get(YUNET_VARIABLE) or None),
        options=replace(config.prediction.options, threads=config.threads),
    )
    return replace(
        config, prediction=prediction, source=place(config.source), out=place(config.out)
    )


def _find_plan(config: BatchConfig, folder: ResultFolder, settings: dict[str, Any]) -> Plan | None:
    """Return what the run in the result folder is to do; None for a new run.

    Raises ConfigError if a new run cannot begin there, or the run there cannot be continued.
    """
    plan = folder.read_plan()
    if plan is None:
        if config.resume:
            raise ConfigError(
                f"{folder.name}: expected a run to continue, found none; leave out --resume"
            )
        folder.check_new()
        return None
    if not config.resume:
        found = "results already" if folder.done() else "a run without results yet"
        raise ConfigError(
            f"{folder.name}: has {found}; add --resume to continue, or name another folder"
        )
    plan.check(folder.name, settings)
    return plan


def _missing(folder: ResultFolder, plan: Plan) -> list[int]:
    """Return the numbers of the shards without a result file, in order."""
    return sorted(set(range(len(plan.photos))) - folder.done())


@dataclass(frozen=True)
class _Pool:
    """The workers that Ray has cores for."""

    ray: Any  # the module
    workers: int
    gpus: float  # that they share


@contextmanager
def _open_pool(config: BatchConfig) -> Iterator[_Pool]:
    """Connect to Ray. Raises ConfigError for no cluster, or more workers than its cores allow."""
    cores = find_cores().usable
    wanted = config.threads * config.workers if config.workers else cores
    with ray_session(config.address, min(wanted, cores)) as ray:
        found = ray.cluster_resources()
        gpus = found.get("GPU", 0.0) if config.prediction.options.device[:4] == "cuda" else 0.0
        yield _Pool(ray, _count_workers(config, found.get("CPU", 0.0)), gpus)


def _predict(
    pool: _Pool, config: BatchConfig, model: str, run: str, shards: list[int]
) -> Iterator[Counts]:
    """Yield the counts of each shard when its result file is written.

    `model` is the name of the model, and `run` that of the run.

    Raises ConfigError if results cannot be written. A shard whose worker ended each time gives
    nothing.
    """
    ray, workers = pool.ray, min(pool.workers, len(shards))
    share = math.floor(100 * pool.gpus / workers) / 100  # of the GPUs: below 1, some share one
    with _quiet_data(ray):
        # Each shard is a block of its own, so that it is one task.
        blocks = ray.data.from_items(
            [{"shard": shard} for shard in shards], override_num_blocks=len(shards)
        )
        with warnings.catch_warnings():
            # Ray 2.64 will take the number of attempts in another way; pyproject.toml is before it.
            warnings.simplefilter("ignore", DeprecationWarning)
            results = blocks.map_batches(
                BatchWorker,
                fn_constructor_args=(config, model, run),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
                num_cpus=config.threads,
                num_gpus=min(1.0, share),
                max_restarts=-1,
                max_task_retries=ATTEMPTS - 1,
            )
        try:
            for row in results.iter_rows():
                if row["error"]:
                    raise ConfigError(row["error"])
                yield Counts(**{name: row[name] for name in asdict(Counts())})
        except ray.exceptions.RayError as error:
            *_, last = (line for line in str(error).splitlines() if line.strip())
            raise ConfigError(
                f"the workers cannot start or go on: {last.strip()}; each machine of the cluster "
                "needs the same halnet with the same extras"
            ) from error


def _count_workers(config: BatchConfig, cores: float) -> int:
    """Return how many workers there are. Raises ConfigError for more than the cores allow."""
    if config.threads > cores:
        raise ConfigError(
            f"--threads: expected at most {cores:g}, the cores that Ray has, found "
            f"{config.threads}; name fewer"
        )
    most = int(cores // config.threads)
    if (config.workers or 1) > most:
        raise ConfigError(
            f"--workers: expected at most {most}, because each needs {config.threads} of the "
            f"{cores:g} cores that Ray has, found {config.workers}; name fewer"
        )
    return config.workers or most


@contextmanager
def _quiet_data(ray: Any) -> Iterator[None]:
    """Let Ray Data print nothing during the block, and go on with the other shards if one fails."""
    logger = logging.getLogger("ray.data")
    level = logger.level
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars, context.max_errored_blocks = False, -1
    logger.setLevel(logging.CRITICAL)
    try:
        with ray.data.DataContext.current(context):
            yield
    finally:
        logger.setLevel(level)


def _check_complete(folder: ResultFolder, plan: Plan) -> None:
    """Raise ConfigError if results are missing after the run."""
    missing = _missing(folder, plan)
    if missing:
        names = [part.file for part in folder.parts(plan.run, missing[0])]
        raise ConfigError(
            f"{folder.name}: {sum(plan.photos[shard] for shard in missing)} photos have no result, "
            f"because their worker ended {ATTEMPTS} times or failed, such as those from {names[0]} "
            f"to {names[-1]}; see the memory of the machine and the logs of Ray, then repeat the "
            "command with --resume"
        )


def _outcome(counts: Counts, is_loss: bool) -> RunOutcome:
    if counts.unread == counts.photos:
        return RunOutcome.UNREADABLE
    if counts.unread or counts.without_face or is_loss:
        return RunOutcome.PARTIAL
    return RunOutcome.COMPLETE
