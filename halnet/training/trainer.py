"""The trainer: from prepared datasets to the checkpoint with the lowest validation error.

A run folder contains `best_model.safetensors` (averaged weights), `training_log.csv` (one line for
each epoch), `runs/` (for TensorBoard), `last.ckpt` (to resume the run) and `config.json`. At the
end, `report.json` and `predictions.csv` (one line for each photo of validation and test) are added.
"""

import logging
import signal
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ConfigError
from halnet.files import check_folder
from halnet.network.checkpoint import Checkpoint, load_checkpoint
from halnet.network.device import resolve_device, set_threads
from halnet.network.model import AgeNet
from halnet.packages import needs
from halnet.training.callbacks import BestCheckpoint, EpochLog, OnEpoch, ema_callback
from halnet.training.config import TrainConfig
from halnet.training.host import restored_host
from halnet.training.initial_weights import InitialWeights, check_unseen, parse_weights
from halnet.training.memory import keep_freed_memory
from halnet.training.module import AgeModule
from halnet.training.origin import find_origin
from halnet.training.photos import TrainingPhotos, count_photos, photos_by_set, training_photos
from halnet.training.precision import keep_float32
from halnet.training.run_folder import BEST_FILE, RESUME_FILE, claim_folder
from halnet.training.run_report import TrainResult, write_report
from halnet.training.training_log import LOG_FILE

LIGHTNING_PRECISIONS: dict[str, Any] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}
EQUALIZING_CROPS = 128  # training photos that ranges are measured on, for --quantize int8
HASH_SEPARATOR = ","  # between the SHA-256 of several teachers


@restored_host()
def train(
    data: Sequence[Path],
    out: Path,
    config: TrainConfig,
    *,
    weights: str = "none",
    teachers: Sequence[Path] = (),
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    workers: int = 0,
    threads: int | None = None,
    on_epoch: OnEpoch = lambda values: None,
    on_note: Callable[[str], None] = lambda line: None,
) -> TrainResult | None:
    """Train on prepared datasets into the run folder `out`, or resume the run in this folder.

    `data` are the folders of the datasets, each with its own split. `weights` are the initial
    weights, as `parse_weights` reads them. `teachers` are the checkpoints of teachers, for
    distillation. The SHA-256 of these files become part of the recipe. `device` is auto, cpu, cuda
    or cuda:N. `devices` is the number of GPUs, or of processes on the CPU, of each of `nodes`
    machines; only the first process returns a result, and the others return None. `workers` is the
    number of processes that load batches for each training process; 0 loads them in the training
    process. `threads` is the number of threads of PyTorch on the CPU; None leaves the number to
    PyTorch, but no more than there are usable cores. `on_epoch` is called with the values of each
    line of the log. Before the first epoch, `on_note` is called with lines that state the photos of
    each dataset: how many are used, how many are left out as copies, and which splits have none.

    At the end, seeds, threads, environment variables and warning filters of this process are what
    they were at the start (see `halnet.training.host`).

    Raises ConfigError if the recipe contradicts itself, the run folder is a file or belongs to
    another recipe or other datasets, the file of the initial weights does not exist, a teacher or
    the initial weights may have been trained on test photos, or the loss becomes NaN; DatasetError
    if a dataset cannot be used; ArtifactError if a teacher or the initial weights are damaged or of
    another kind; RuntimeUnavailableError if the device does not exist or weights cannot be
    downloaded.
    """
    check_folder(out)
    collection = DataCollection([PreparedDataset(folder) for folder in data])
    target = resolve_device(device)
    teacher_checkpoints = [_load_teacher(path, collection) for path in teachers]
    _set_up_process(config.seed, target, threads, workers)
    # The order matters. Each network that is built draws random numbers, and the hints of
    # distillation draw the next ones, so another order would give other results for the same seed.
    model = AgeNet(config.network)
    initial = _find_weights(weights)
    initial.check(collection)
    photos = training_photos(collection, config)
    origin = find_origin(collection, photos, initial, teacher_checkpoints)
    # An empty test is an error now, and not after hours of training.
    test_sets = photos_by_set(collection, "test")
    config = replace(
        config,
        weights=initial.kind,
        initial_sha256=initial.sha256,
        teacher_sha256=HASH_SEPARATOR.join(teacher.sha256 for teacher in teacher_checkpoints),
    )
    _check_recipe(config, devices * nodes, target)
    resume = out / RESUME_FILE
    if not resume.exists():
        initial.load(model, config.backbone, collection)
        if config.quantize != "none":
            _equalize(model, photos)
    if config.precision == "bf16" and target.type == "cpu":
        keep_float32(model)
    claim_folder(out, config, collection)
    teacher_models = [teacher.model for teacher in teacher_checkpoints]
    val_sets = photos_by_set(collection, "val")
    module = AgeModule(config, photos, val_sets, model, teacher_models, workers)
    callbacks = [
        BestCheckpoint(out / BEST_FILE, origin),
        ema_callback(config.ema_decay),
        EpochLog(out / LOG_FILE, on_epoch),
        ModelCheckpoint(
            out, filename="last", enable_version_counter=False, save_on_train_epoch_end=True
        ),
    ]
    trainer = _build_trainer(out, config, target, devices, nodes, callbacks)
    counts = count_photos(collection, {"train": photos.sets, "val": val_sets, "test": test_sets})
    if trainer.is_global_zero:
        for line in (line for part in counts for line in part.notes):
            on_note(line)
    _fit(trainer, module, resume if resume.exists() else None)
    if not trainer.is_global_zero:
        return None
    if not (out / BEST_FILE).exists():
        raise ConfigError(
            f"{out}: expected a finished epoch at the deployed resolution, found none; run the "
            "same command again"
        )
    return write_report(out, collection, counts, origin, target)


def _find_weights(text: str) -> InitialWeights:
    """Return the initial weights; ConfigError if their file does not exist."""
    initial = parse_weights(text)
    if initial.path is not None and not initial.path.exists():
        raise ConfigError(
            "weights: expected none, imagenet, select:timm:NAME, or a file that exists in "
            f"CHECKPOINT, select:CHECKPOINT or faceres:JSON, found {text}; correct --weights"
        )
    return initial


def _equalize(model: AgeNet, photos: TrainingPhotos) -> None:
    """Give the channels of a network similar ranges, measured on some of the training photos."""
    with needs("halnet train --quantize int8", "train,export,onnxruntime"):
        from halnet.training.equalizing import equalize_network
    each = -(-EQUALIZING_CROPS // len(photos.sets))
    crops = [
        part.data.inner_crops(part.records[:: -(-len(part.records) // each)])
        for part in photos.sets
    ]
    equalize_network(model, np.concatenate(crops))


def _load_teacher(path: Path, data: DataCollection) -> Checkpoint:
    teacher = load_checkpoint(path)
    check_unseen(teacher, data)
    return teacher


def _check_recipe(config: TrainConfig, processes: int, device: torch.device) -> None:
    """Raise ConfigError for options that contradict each other."""
    if config.freeze_epochs and config.weights == "none":
        raise ConfigError(
            "freeze_epochs: expected pretrained weights, found none; name them with --weights, or "
            "use --warmup-epochs to train random weights gently"
        )
    if config.quantize != "none" and config.weights == "none":
        raise ConfigError(
            "quantize: expected weights of a trained checkpoint, found none; name it with --weights"
        )
    if config.hint_weight and not config.teacher_sha256:
        raise ConfigError(
            "hint_weight: expected a teacher whose features are compared, found none; name it with "
            "--teacher"
        )
    if config.precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision fp16: expected a CUDA device, found the CPU; use bf16 or fp32")
    if config.batch_size % processes:
        raise ConfigError(
            f"batch_size: expected a multiple of the {processes} processes, found "
            f"{config.batch_size}; change --batch-size"
        )


def _set_up_process(seed: int, device: torch.device, threads: int | None, workers: int) -> None:
    """Set threads, memory, log messages and seeds of this process."""
    set_threads(threads)
    if workers:  # they inherit it; there is one worker for each core, so more threads would wait
        cv2.setNumThreads(1)
    if device.type == "cpu":
        keep_freed_memory()
    # Lightning would print advice on loaders, and banners.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning.*")
    pl.seed_everything(seed, verbose=False)


def _build_trainer(
    out: Path,
    config: TrainConfig,
    device: torch.device,
    devices: int,
    nodes: int,
    callbacks: list[pl.Callback],
) -> pl.Trainer:
    """Return Lightning's trainer. Raises ConfigError if a cluster started other processes."""
    is_cuda = device.type == "cuda"
    processes = devices * nodes
    try:
        return pl.Trainer(
            accelerator="gpu" if is_cuda else "cpu",
            devices=[device.index] if is_cuda and devices == 1 else devices,
            num_nodes=nodes,
            strategy="ddp" if processes > 1 else "auto",
            # A single process needs no cluster, even if a shell has the variables of Slurm.
            plugins=LightningEnvironment() if processes == 1 else None,
            use_distributed_sampler=False,
            sync_batchnorm=is_cuda and processes > 1,
            precision=LIGHTNING_PRECISIONS[config.precision],
            max_epochs=config.epochs,
            gradient_clip_val=config.clip_norm,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            callbacks=callbacks,
            logger=TensorBoardLogger(out, name="runs", version=""),
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=50,
        )
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(
            f"the training cannot start {processes} processes: {' '.join(str(error).split())} Use "
            "srun with as many tasks as --devices and --nodes name, or unset the variables of the "
            "cluster, such as SLURM_NTASKS"
        ) from error


def _fit(trainer: pl.Trainer, module: AgeModule, resume: Path | None) -> None:
    """Train until the end. Raises KeyboardInterrupt after Ctrl-C."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, ckpt_path=resume, weights_only=True)
    except SystemExit as stop:  # Lightning raises it after Ctrl-C, and then ignores the signal
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stop
