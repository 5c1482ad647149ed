"""OpenVINO Model Server: its `config.json`, and the check of it.

A trap: the server decodes JPEG and PNG files that a client sends, for each input of four dimensions
whose layout may be NHWC, which is what a model without a layout counts as. It decodes to **BGR**
and resizes to the shape of the input. An artifact takes aligned **RGB** crops of the same type and
shape, so that whole photos would get ages, and wrong ones. The server has no setting that refuses
images. But it refuses them for the layout NCHW: "binary image input is not supported for inputs
with NCHW layout" [docs/binary_input_layout_and_shape.md of the server]. A layout that is given
alone, without a colon, "doesn't add a transposition" [docs/parameters.md], so that arrays reach the
model as they are. This is why the configuration states a layout that the input does not have.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from halnet.artifact import INPUT_NAME
from halnet.errors import ArtifactError
from halnet.export.served_model import ServedModel, Server, read_by_openvino
from halnet.json_text import parse_json

CONFIG_FILE = "config.json"
IMAGE = "openvino/model_server:latest"
NO_IMAGES = "NCHW"  # the layout with which the server refuses encoded images
# f32: OpenVINO would compute in bf16 or f16 on some devices, which changes the ages.
PLUGIN_CONFIG = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}

README = """\
# A model repository for OpenVINO Model Server

`halnet export --repository ovms` wrote this folder. Its structure and each name, type and shape
were compared with the model files. **The server itself was not run** where halnet is developed.

Start the server, in the folder that contains this folder:

    docker run --rm -p 127.0.0.1:8000:8000 -p 127.0.0.1:9000:9000 -v "$PWD/{folder}":/models:ro \\
        {image} --config_path /models/config.json --port 9000 --rest_port 8000

{models}

The models take aligned crops: `image`, UINT8, N x 224 x 224 x 3 **RGB**, which section 5 of
docs/specification.md of halnet describes. Whole photos, crops of another alignment, and BGR get
ages too, and wrong ones.

**Do not remove the layout in `config.json`.** The server decodes JPEG and PNG files to BGR and
resizes them, which would fit the input and give wrong ages. It refuses them for an input with the
layout NCHW. The layout changes nothing for arrays: their axes stay N x 224 x 224 x 3.
"""


def why_not(form: str, path: Path) -> str:
    """Return why the server cannot run an artifact; an empty text if it can."""
    del path
    if form in SERVER_READS:
        return ""
    return (
        "OpenVINO Model Server gets ONNX and OpenVINO models; export the checkpoint with "
        "--format openvino"
    )


def write_texts(models: Sequence[ServedModel], folder: str) -> dict[str, str]:
    """Return the configuration of all models, and the README, which names the folder."""
    entries = [{"config": make_config(model)} for model in models]
    return {
        CONFIG_FILE: json.dumps({"model_config_list": entries}, indent=1) + "\n",
        "README.md": README.format(
            folder=folder,
            image=IMAGE,
            models="\n".join(f"- `{model.name}`" for model in models),
        ),
    }


def make_config(model: ServedModel) -> dict[str, Any]:
    """Return the entry of a model."""
    return {
        "name": model.name,
        "base_path": model.name,  # beside the configuration
        "target_device": "CPU",
        "layout": {tensor.name: NO_IMAGES for tensor in model.inputs},
        "plugin_config": PLUGIN_CONFIG,
    }


def check(folder: Path, models: Sequence[ServedModel]) -> None:
    """Raise ArtifactError where the configuration contradicts the models or lets images in.

    The names, types and shapes that the server has are those of the model files, since the
    configuration changes none of them.
    """
    path = folder / CONFIG_FILE
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        found = {entry["config"]["name"]: entry["config"] for entry in content["model_config_list"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path}: expected the configuration of the models, found a damaged file ({error}); "
            "write the repository again"
        ) from error
    for model in models:
        config = found.pop(model.name, {})
        if config.get("base_path") != model.name:
            raise ArtifactError(
                f"{path}: expected the model {model.name} in the folder {model.name}, found "
                f"{config.get('base_path', 'no such model')}; write the repository again"
            )
        if config.get("layout") != {INPUT_NAME: NO_IMAGES}:
            raise ArtifactError(
                f"{path}: {model.name}: expected the layout {NO_IMAGES} for the input "
                f"{INPUT_NAME}, found {config.get('layout', 'none')}; without it, the server "
                "decodes JPEG files to BGR and gives wrong ages for them: write the repository "
                "again"
            )
    if found:
        raise ArtifactError(
            f"{path}: expected the models {', '.join(model.name for model in models)}, found "
            f"{', '.join(found)} too; write the repository again"
        )


SERVER_READS = {"onnx": read_by_openvino, "openvino": read_by_openvino}
OVMS = Server("OpenVINO Model Server", SERVER_READS, why_not, write_texts, check)
