"""Triton Inference Server: the `config.pbtxt` of each model, and the check of it.

The fields are those of Triton's model_config.proto. A model whose batch size is free is batched by
Triton itself, except in OpenVINO: the backend there fills each batch up to the largest size, or
refuses it [triton-inference-server/server, issue 7363]. There, the model takes the batch of each
request as it is, and several instances share the cores.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from halnet.errors import ArtifactError
from halnet.export.protobuf_text import Message, Name, parse_text, to_text
from halnet.export.served_model import (
    FREE,
    ServedModel,
    Server,
    Tensor,
    read_by_onnx,
    read_by_openvino,
    read_engine,
)
from halnet.runtimes.sidecar import Sidecar

CONFIG_FILE = "config.pbtxt"
IMAGE = "nvcr.io/nvidia/tritonserver:26.06-py3"
TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}
BACKENDS = {  # the field and the value that name what runs a format
    "onnx": ("platform", "onnxruntime_onnx"),
    "openvino": ("backend", "openvino"),
    "tensorrt": ("platform", "tensorrt_plan"),
}
MAX_BATCH = 32  # crops in one inference of several requests
PREFERRED_BATCHES = (8, 16, 32)
QUEUE_DELAY = 2000  # microseconds that a request waits for others; an inference takes longer
# A model in OpenVINO has several instances, since Triton does not batch its requests.
CPU_INSTANCES = 2
# Settings of the CUDA provider, as halnet makes them itself (see runtimes/ort.py): FP32 stays FP32,
# and a new number of crops costs no search of all algorithms. Triton sets the second one to that
# search in a configuration with any `parameters`, unless it is one of them; 1 stands for HEURISTIC
# [triton-inference-server/onnxruntime_backend, src/onnxruntime.cc].
CUDA_SETTINGS = {"use_tf32": "0"}
CUDA_PARAMETERS = {"cudnn_conv_algo_search": "1"}
# The metadata that clients need, which the server states at /v2/models/NAME/config.
PARAMETERS = (
    *("halnet.format_version", "halnet.precision", "halnet.input_fingerprint", "halnet.input"),
    *("halnet.calibration", "halnet.checkpoint_sha256", "halnet.licence"),
)

README = """\
# A model repository for Triton Inference Server

`halnet export --repository triton` wrote this folder. Its structure and each name, type and shape
were compared with the model files. **Triton itself was not run** where halnet is developed.

Start the server, in the folder that contains this folder:

    docker run --rm -p 127.0.0.1:8000:8000 -p 127.0.0.1:8001:8001 -p 127.0.0.1:8002:8002 \\
        -v "$PWD/{folder}":/models:ro {image} \\
        tritonserver --model-repository=/models

With `--gpus=all` after `--rm`, ONNX models in FP32 and FP16 run on the GPU.

{models}

The models take aligned crops: `image`, UINT8, N x 224 x 224 x 3 **RGB**, which section 5 of
docs/specification.md of halnet describes. Whole photos, crops of another alignment, and BGR get
ages too, and wrong ones.

Where Triton makes batches of several requests, `age` and `stddev` have the shape N x 1, because
Triton needs a dimension beside the batch. Elsewhere it is N.
"""


def why_not(form: str, path: Path) -> str:
    """Return why Triton cannot run an artifact; an empty text if it can."""
    if form not in BACKENDS:
        return f"Triton has no backend for {form}; export the checkpoint with --format onnx"
    if form != "tensorrt":
        return ""
    sidecar = Sidecar.read(path)
    if sidecar.library != "tensorrt":
        return (
            "Triton runs engines of the full TensorRT alone, and this one is of TensorRT for RTX; "
            "export the checkpoint with --format onnx, or where only the full TensorRT is installed"
        )
    if 1 < sidecar.batches[0] < sidecar.batches[2]:
        return (
            f"Triton cannot keep to the smallest batch size of {sidecar.batches[0]}; export the "
            "checkpoint with --profile 1 8 32"
        )
    return ""


def write_texts(models: Sequence[ServedModel], folder: str) -> dict[str, str]:
    """Return the configuration of each model, and the README, which names the folder."""
    configs = {f"{model.name}/{CONFIG_FILE}": to_text(make_config(model)) for model in models}
    return configs | {
        "README.md": README.format(
            folder=folder,
            image=IMAGE,
            models="\n".join(_describe_model(model) for model in models),
        )
    }


def _describe_model(model: ServedModel) -> str:
    maximum = _max_batch(model)
    way = f"batches of at most {maximum} crops" if maximum else "each request is one batch"
    return f"- `{model.name}`: {way}"


def make_config(model: ServedModel) -> Message:
    """Return the configuration of a model, as a message of the type ModelConfig."""
    field, value = BACKENDS[model.form]
    maximum = _max_batch(model)
    config: Message = {
        "name": model.name,
        field: value,
        "max_batch_size": maximum,
        "input": [_tensor_message(tensor, maximum) for tensor in model.inputs],
        "output": [_tensor_message(tensor, maximum) for tensor in model.outputs],
        "instance_group": [_instances(model)],
    }
    if model.form == "tensorrt":
        config["default_model_filename"] = "model.plan"
    if maximum:
        config["dynamic_batching"] = [
            {
                "preferred_batch_size": _preferred_batches(maximum),
                "max_queue_delay_microseconds": QUEUE_DELAY,
            }
        ]
    config["model_warmup"] = [_warm_up(model, count, maximum) for count in _warm_sizes(maximum)]
    config["response_cache"] = [{"enable": False}]  # what is asked about faces is not kept
    if _may_use_gpu(model):
        entries = [{"key": key, "value": value} for key, value in CUDA_SETTINGS.items()]
        accelerators = [{"gpu_execution_accelerator": [{"name": "cuda", "parameters": entries}]}]
        config["optimization"] = [{"execution_accelerators": accelerators}]
    config["parameters"] = [
        {"key": key, "value": [{"string_value": value}]}
        for key, value in _parameters(model).items()
    ]
    return config


def _parameters(model: ServedModel) -> dict[str, str]:
    properties = model.metadata.to_properties()
    stated = {key: properties[key] for key in PARAMETERS}
    return stated | CUDA_PARAMETERS if _may_use_gpu(model) else stated


def _may_use_gpu(model: ServedModel) -> bool:
    """Return whether ONNX Runtime may run a model on a GPU. There, INT8 would be slower."""
    return model.form == "onnx" and model.metadata.precision != "int8"


def check(folder: Path, models: Sequence[ServedModel]) -> None:
    """Raise ArtifactError where the configuration of a model contradicts its model file."""
    for model in models:
        path = folder / model.name / CONFIG_FILE
        try:
            config = parse_text(path.read_text(encoding="utf-8"))
            found = _describe(config)
        except (OSError, ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
            raise ArtifactError(
                f"{path}: expected the configuration of a model, found a damaged file ({error}); "
                "write the repository again"
            ) from error
        field, value = BACKENDS[model.form]
        names = {"name": model.name, field: value, "response_cache": False}
        tensors = {
            tensor.name: (tensor.dtype, tensor.shape) for tensor in (*model.inputs, *model.outputs)
        }
        expected = names | tensors | _parameters(model)
        for key in sorted(expected.keys() | found.keys()):
            if expected.get(key) != found.get(key):
                raise ArtifactError(
                    f"{path}: {key}: expected {expected.get(key, 'nothing')}, as the model file "
                    f"states it, found {found.get(key, 'nothing')}; write the repository again"
                )


def _describe(config: Message) -> dict[str, Any]:
    """Return what a configuration says: names, the type and shape of each tensor, parameters."""
    batched = config["max_batch_size"] > 0
    if batched and "dynamic_batching" not in config:
        raise ValueError("no dynamic_batching")
    types = {name: dtype for dtype, name in TYPES.items()}
    found: dict[str, Any] = {
        key: config[key] for key in ("name", "platform", "backend") if key in config
    }
    for tensor in config["input"] + config["output"]:
        dims = tensor["reshape"][0]["shape"] if "reshape" in tensor else tensor["dims"]
        shape = (*([FREE] if batched else []), *dims)
        found[tensor["name"]] = types[tensor["data_type"]], shape
    found["response_cache"] = config["response_cache"][0]["enable"]
    return found | {
        entry["key"]: entry["value"][0]["string_value"] for entry in config["parameters"]
    }


def _max_batch(model: ServedModel) -> int:
    """Return the largest batch that Triton may make; 0 if it must leave requests as they are."""
    if model.form == "openvino" or model.inputs[0].shape[0] != FREE:
        return 0
    return min(MAX_BATCH, model.batches.maximum or MAX_BATCH)


def _tensor_message(tensor: Tensor, maximum: int) -> Message:
    """Return an input or output. Where Triton batches, the shapes have no N."""
    message: Message = {"name": tensor.name, "data_type": Name(TYPES[tensor.dtype])}
    dims = list(tensor.shape[1:] if maximum else tensor.shape)
    if dims:
        return message | {"dims": dims}
    return message | {"dims": [1], "reshape": [{"shape": []}]}  # Triton allows no empty shape


def _instances(model: ServedModel) -> Message:
    if model.form == "tensorrt":
        return {"count": 1, "kind": Name("KIND_GPU")}
    if model.form == "openvino":
        return {"count": CPU_INSTANCES, "kind": Name("KIND_CPU")}
    kind = "KIND_AUTO" if _may_use_gpu(model) else "KIND_CPU"  # AUTO: GPU, or CPU
    return {"count": 1, "kind": Name(kind)}


def _preferred_batches(maximum: int) -> list[int]:
    return [size for size in PREFERRED_BATCHES if size <= maximum] or [maximum]


def _warm_sizes(maximum: int) -> tuple[int, ...]:
    """Return the batch sizes that are run once before the server takes requests."""
    return tuple(sorted({1, *_preferred_batches(maximum)})) if maximum else (1,)


def _warm_up(model: ServedModel, count: int, maximum: int) -> Message:
    (image,) = model.inputs
    dims = image.shape[1:] if maximum else (abs(image.shape[0]), *image.shape[1:])
    sample = {
        "data_type": Name(TYPES[image.dtype]),
        "dims": list(dims),
        "random_data": True,
    }
    return {
        "name": f"{count} random",
        "batch_size": count,
        "inputs": [{"key": image.name, "value": [sample]}],
    }


TRITON = Server(
    "Triton Inference Server",
    {"onnx": read_by_onnx, "openvino": read_by_openvino, "tensorrt": read_engine},
    why_not,
    write_texts,
    check,
)
