"""The back end ONNX Runtime: it runs `.onnx` artifacts on the CPU or a CUDA device.

It also runs the files for vendors' compilers, whose logits it decodes, so that they can be checked.
"""

from pathlib import Path
from typing import Any

import numpy as np

from halnet.artifact import INPUT_NAME, OUTPUT_NAMES, Metadata
from halnet.cores import thread_count
from halnet.errors import RuntimeUnavailableError
from halnet.packages import import_onnxruntime
from halnet.results import Outputs
from halnet.runtimes.base import (
    BatchLimits,
    Crops,
    RuntimeBase,
    RuntimeOptions,
    RuntimeSpec,
    check_signature,
    library_errors,
)
from halnet.runtimes.compiler_form import LOGITS_NAME, CompilerForm
from halnet.runtimes.cuda import find_gpus, pick_gpu
from halnet.runtimes.onnx_file import read_onnx

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# Without this, the threads keep their cores busy for up to a second after each run.
STOP_SPINNING = "session.force_spinning_stop"
# Without this, ONNX Runtime silently runs on the CPU what the GPU cannot run, or the whole model.
NO_FALLBACK = "session.disable_cpu_ep_fallback"
NOT_ALL = "fallback to CPU EP has been explicitly disabled"  # in the error if a node needs the CPU
# The CUDA provider plans each convolution anew for each new number of crops. On an H200, this takes
# 0.3 to 0.6 seconds for FP32 with this way, and 1.5 seconds with the default way, which tries all
# algorithms; the inferences after it are as fast.
PLANNING = {"cudnn_conv_algo_search": "HEURISTIC"}


class OnnxRuntime(RuntimeBase):
    """An ONNX artifact in an `onnxruntime.InferenceSession`. Several threads may share it."""

    def _open(self, model: str | Path, options: RuntimeOptions) -> None:
        ort = import_onnxruntime()
        session = ort.SessionOptions()
        session.log_severity_level = 3  # print errors only; they are raised as exceptions too
        session.inter_op_num_threads = 1
        provider, settings, name = _provider(ort, options.device)
        count = thread_count(options.threads)
        session.intra_op_num_threads = count
        session.add_session_config_entry(STOP_SPINNING, "1")
        if provider != CPU:
            session.add_session_config_entry(NO_FALLBACK, "1")
        data = read_onnx(model)
        with library_errors(model, "ONNX Runtime cannot load it"):
            try:
                self._session: Any = ort.InferenceSession(
                    data, session, providers=[(provider, settings)]
                )
            except Exception as error:
                if NOT_ALL not in str(error):
                    raise
                raise RuntimeUnavailableError(
                    f"{model}: expected a model whose layers {provider} can all compute, found one "
                    "with others, as INT8 artifacts are; use the artifact in FP32 or FP16, or the "
                    "device cpu"
                ) from error
        found = self._session.get_providers()[0]
        if found != provider:
            raise RuntimeUnavailableError(
                f"runtime onnxruntime: expected {provider}, found {found}; the CUDA and cuDNN "
                f"libraries of onnxruntime-gpu {ort.__version__} cannot be loaded; install them, "
                "or use the device cpu"
            )
        with library_errors(model, "ONNX Runtime cannot describe it"):
            properties = self._session.get_modelmeta().custom_metadata_map
            inputs = [(node.name, node.type) for node in self._session.get_inputs()]
            outputs = tuple(node.name for node in self._session.get_outputs())
        metadata = Metadata.from_properties(properties, model)
        self.form = CompilerForm.from_properties(properties, model)
        if self.form is None:
            check_signature(model, inputs, outputs, "tensor(uint8)")
        self.spec = RuntimeSpec(
            "onnxruntime",
            ort.__version__,
            name,
            count if provider == CPU else 0,
            str(model),
            metadata,
            self._batch_limits(),
            options.mode,
        )

    def _batch_limits(self) -> BatchLimits:
        fixed = self._session.get_inputs()[0].shape[0]
        return BatchLimits(fixed, fixed) if isinstance(fixed, int) else BatchLimits()

    def close(self) -> None:
        """Release the session."""
        super().close()
        self._session = None

    def _after_fork(self) -> None:
        """Open a session with threads of its own. CUDA does not work in a forked process."""
        if self.spec.provider != CPU:
            super()._after_fork()
        self._open(self._model, self._options)

    def _fill_up(self, count: int) -> int:
        """Return the next power of two on a GPU, so that it makes few plans; see `PLANNING`."""
        count = super()._fill_up(count)
        limits = self.spec.batch_limits
        if self.spec.provider == CPU or limits.maximum is not None:
            return count
        return 1 << (count - 1).bit_length()

    def _infer(self, crops: Crops) -> Outputs:
        with library_errors(self.spec.model, f"ONNX Runtime cannot run it on {self.spec.provider}"):
            if self.form is not None:
                images = self.form.prepare(crops)
                (logits,) = self._session.run([LOGITS_NAME], {INPUT_NAME: images})
                return self.form.decode(logits)
            age, stddev, probabilities = self._session.run(OUTPUT_NAMES, {INPUT_NAME: crops})
        return Outputs(np.asarray(age), np.asarray(stddev), np.asarray(probabilities))


def devices() -> list[str]:
    """Return the devices that this build of ONNX Runtime can use here, the CPU first."""
    # The build for GPUs lists CUDA even without a GPU, so the driver is asked too.
    found = ["cpu"]
    if CUDA in import_onnxruntime().get_available_providers():
        try:
            found += [gpu.device for gpu in find_gpus()]
        except RuntimeUnavailableError:
            return found
    return found


def _provider(ort: Any, device: str) -> tuple[str, dict[str, str], str]:
    """Return the provider, its settings, and the provider and device as the spec names them."""
    if device == "auto":
        device = devices()[-1]
    if device == "cpu":
        return CPU, {}, CPU
    if not device.lower().startswith("cuda"):
        raise RuntimeUnavailableError(
            f"runtime onnxruntime: expected device cpu, cuda or cuda:N, found {device}"
        )
    if CUDA not in ort.get_available_providers():
        raise RuntimeUnavailableError(
            f"runtime onnxruntime: device {device} needs the build for GPUs; pip uninstall "
            "onnxruntime, then pip install 'halnet[gpu]' (never install both builds together)"
        )
    gpu = pick_gpu(device, "onnxruntime")
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA libraries that pip installed as NVIDIA's packages
    # TF32 would round the inputs of convolutions.
    settings = {"device_id": str(gpu.index), "use_tf32": "0", **PLANNING}
    return CUDA, settings, f"{CUDA} {gpu.device} ({gpu.name})"
