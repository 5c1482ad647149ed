"""The trainer: from a prepared dataset to the checkpoint with the lowest validation MAE.

A run folder contains `best_model.safetensors` (averaged weights), `training_log.csv` (one line for
each epoch), `runs/` (for TensorBoard), `last.ckpt` (to resume the run) and `config.json`. At the
end, `report.json` and `predictions.csv` (one line for each photo of validation and test) are added.
"""

import logging
import signal
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ConfigError, DatasetError
from halnet.network.checkpoint import Checkpoint, load_checkpoint
from halnet.network.device import resolve_device
from halnet.network.model import AgeNet
from halnet.training.callbacks import BestCheckpoint, EpochLog, OnEpoch, ema_callback
from halnet.training.config import TrainConfig
from halnet.training.initial_weights import check_split, parse_weights
from halnet.training.memory import keep_freed_memory
from halnet.training.module import AgeModule
from halnet.training.precision import keep_float32
from halnet.training.run_folder import BEST_FILE, RESUME_FILE, claim_folder
from halnet.training.run_report import TrainResult, write_report
from halnet.training.training_log import LOG_FILE

LIGHTNING_PRECISIONS: dict[str, Any] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}
MIN_VALIDATION = 9  # number of photos; with fewer, no conformal interval reaches a level of 90 %


def train(
    data_root: Path,
    out: Path,
    config: TrainConfig,
    *,
    weights: str = "none",
    teacher: Path | None = None,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    workers: int = 0,
    threads: int | None = None,
    on_epoch: OnEpoch = lambda values: None,
) -> TrainResult | None:
    """Train on a prepared dataset into the run folder `out`, or resume the run in this folder.

    `weights` are the initial weights, as `parse_weights` reads them. `teacher` is the checkpoint
    of a teacher, for distillation. The SHA-256 of both become part of the recipe. `device` is auto,
    cpu, cuda or cuda:N. `devices` is the number of GPUs, or of processes on the CPU, of each of
    `nodes` machines; only the first process returns a result, and the others return None. `workers`
    is the number of processes that load batches for each training process; 0 loads them in the
    training process. `threads` is the number of threads of PyTorch on the CPU. `on_epoch` is called
    with the values of each line of the log.

    Raises ConfigError if the recipe contradicts itself, the run folder belongs to another recipe or
    dataset, or the loss becomes NaN; DatasetError if the dataset cannot be used; ArtifactError if
    the teacher or the initial weights are damaged or of another kind; RuntimeUnavailableError if
    the device does not exist or weights cannot be downloaded.
    """
    data = PreparedDataset(data_root)
    _check_validation(data)
    target = resolve_device(device)
    teacher_checkpoint = _load_teacher(teacher, data)
    _set_up_process(config.seed, target, threads)
    # The order matters. Each network that is built draws random numbers, and the hints of
    # distillation draw the next ones, so another order would give other results for the same seed.
    model = AgeNet(config.network)
    initial = parse_weights(weights)
    initial.check(data)
    config = replace(
        config,
        weights=initial.kind,
        initial_sha256=initial.sha256,
        teacher_sha256=teacher_checkpoint.sha256 if teacher_checkpoint else "",
    )
    _check_recipe(config, devices * nodes, target)
    resume = out / RESUME_FILE
    if not resume.exists():
        initial.load(model, config.backbone, data)
    if config.precision == "bf16" and target.type == "cpu":
        keep_float32(model)
    claim_folder(out, config, data)
    teacher_model = teacher_checkpoint.model if teacher_checkpoint else None
    module = AgeModule(config, data, model, teacher_model, workers)
    callbacks = [
        BestCheckpoint(out / BEST_FILE, data),
        ema_callback(config.ema_decay),
        EpochLog(out / LOG_FILE, on_epoch),
        ModelCheckpoint(
            out, filename="last", enable_version_counter=False, save_on_train_epoch_end=True
        ),
    ]
    trainer = _build_trainer(out, config, target, devices, nodes, callbacks)
    _fit(trainer, module, resume if resume.exists() else None)
    if not trainer.is_global_zero:
        return None
    if not (out / BEST_FILE).exists():
        raise ConfigError(
            f"{out}: expected a finished epoch at the deployed resolution, found none; run the "
            "same command again"
        )
    return write_report(out, data, target)


def _check_validation(data: PreparedDataset) -> None:
    """Raise DatasetError if there are too few validation photos to calibrate intervals."""
    count = len(data.select("val"))
    if count < MIN_VALIDATION:
        raise DatasetError(
            f"{data.root}: expected at least {MIN_VALIDATION} validation photos to calibrate the "
            f"90 % interval, found {count}; prepare a larger dataset"
        )


def _load_teacher(path: Path | None, data: PreparedDataset) -> Checkpoint | None:
    if path is None:
        return None
    teacher = load_checkpoint(path)
    check_split(teacher, data)
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


def _set_up_process(seed: int, device: torch.device, threads: int | None) -> None:
    """Set threads, memory, log messages and seeds of this process."""
    if threads:
        torch.set_num_threads(threads)
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
    is_cuda = device.type == "cuda"
    processes = devices * nodes
    return pl.Trainer(
        accelerator="gpu" if is_cuda else "cpu",
        devices=[device.index] if is_cuda and devices == 1 else devices,
        num_nodes=nodes,
        strategy="ddp" if processes > 1 else "auto",
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


def _fit(trainer: pl.Trainer, module: AgeModule, resume: Path | None) -> None:
    """Train until the end. Raises KeyboardInterrupt after Ctrl-C."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, ckpt_path=resume, weights_only=True)
    except SystemExit as stop:  # Lightning raises it after Ctrl-C, and then ignores the signal
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stop
