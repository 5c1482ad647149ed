"""One, two and four processes train the same network, started as docs/training.md says."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from halnet.training.training_log import read_log

# What docs/training.md says to depend on the number of processes is off: dropout and MixUp by
# options, and the statistics of batch norms here.
DRIVER = """
import sys
from torch import nn
from halnet.commands import group, run
from halnet.training.module import AgeModule

start = AgeModule.on_train_epoch_start

def start_with_fixed_statistics(self):
    start(self)
    for module in self.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()

AgeModule.on_train_epoch_start = start_with_fixed_statistics
sys.exit(run(group, sys.argv[1:]))
"""
RECIPE = (
    *("--stages", "32x2,224x1", "--photos", "36", "--batch-size", "12", "--warmup-epochs", "0.5"),
    *("--mixup-alpha", "0", "--dropout", "0", "--threads", "1", "--device", "cpu"),
)


def start_training(
    driver: Path, data: Path, out: Path, nodes: int, processes: int
) -> list["subprocess.Popen[str]"]:
    """Start a training on so many nodes of this machine, with so many processes each."""
    command: list[object] = [driver, "train", "--data", data, "--out", out, *RECIPE]
    starts: list[list[object]] = [[]]
    if nodes > 1:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command += ["--nodes", nodes, "--devices", processes]
        shared = ["--nnodes", nodes, "--nproc-per-node", processes, "--master-port", port]
        starts = [
            ["-m", "torch.distributed.run", *shared, "--master-addr", "127.0.0.1", "--node-rank", i]
            for i in range(nodes)
        ]
    return [
        subprocess.Popen(
            [sys.executable, *map(str, [*start, *command])],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for start in starts
    ]


def test_the_weights_do_not_depend_on_the_number_of_processes(
    prepared: Path, tmp_path: Path
) -> None:
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    weights, losses = [], []
    for nodes, processes in ((1, 1), (2, 1), (2, 2)):
        out = tmp_path / f"run{nodes * processes}"
        started = start_training(driver, prepared, out, nodes, processes)
        try:
            for process in started:
                _, errors = process.communicate(timeout=300)
                assert process.returncode == 0, errors
        finally:
            for process in started:
                process.kill()
        weights.append(load_file(out / "best_model.safetensors"))
        rows = read_log(out / "training_log.csv").rows
        losses.append([float(row["train_loss"]) for row in rows])
    first, *others = weights
    for other in others:
        for name, weight in first.items():
            torch.testing.assert_close(other[name], weight, rtol=1e-5, atol=1e-5, msg=name)
    for loss in losses[1:]:
        assert loss == pytest.approx(losses[0], rel=1e-4)
    assert losses[0][-1] < losses[0][0]
