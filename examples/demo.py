"""Exports the checkpoint that comes with halnet, compares and times the artifacts, and predicts the
age of a portrait with each of them. The result is one table.
"""

from contextlib import ExitStack
from pathlib import Path

from halnet import FaceDetector, Predictor
from halnet.artifact import bundled, size_artifact
from halnet.benchmarks.machine import cpu_name
from halnet.benchmarks.parity import Verifier, VerifyConfig
from halnet.benchmarks.samples import portrait
from halnet.benchmarks.timing.speed import BenchConfig, bench
from halnet.commands.output import print_table
from halnet.errors import DetectorError
from halnet.export import ExportConfig, export
from halnet.runtimes.backends import open_runtime

OUT = Path("build/demo")
TITLES = {"pytorch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}

checkpoint = bundled("halnet.safetensors")
config = ExportConfig(checkpoint, formats=("onnx", "openvino"), out=OUT)
exported = export(config, Verifier(VerifyConfig(checkpoint)))
verdicts = {str(artifact.path): artifact.verdict for artifact in exported}

image, face = portrait()
try:
    face = FaceDetector()(image)[0]
    found_by = "YuNet"
except DetectorError as error:
    print(f"{error}.\nIn this demo, the landmarks stored beside the portrait are used instead.\n")
    found_by = "stored landmarks"

columns = []
with ExitStack() as stack:
    models = [checkpoint, *(artifact.path for artifact in exported)]
    runtimes = [stack.enter_context(open_runtime(model, device="cpu")) for model in models]
    for runtime, timing in zip(runtimes, bench(runtimes, BenchConfig(runs=100)), strict=True):
        (result,) = Predictor(runtime).predict_faces(image, [face])
        low, high = result.interval(0.9)
        spec = runtime.spec
        verdict = verdicts.get(spec.model)
        columns.append(
            [
                TITLES[spec.runtime],
                spec.version,
                f"{spec.provider}, {spec.threads} threads",
                Path(spec.model).name,
                f"{size_artifact(Path(spec.model)) / 1e6:.1f} MB",
                f"{timing.p50:.1f} ms",
                f"{timing.p90:.1f} ms",
                f"{timing.frames_per_second:.0f}",
                f"{verdict.overall.maximum:.5f} years" if verdict else "reference",
                f"{result.age:.1f} years",
                f"{low:.0f} to {high:.0f} years",
            ]
        )
names = [
    "",
    "version",
    "device and threads",
    "model",
    "size",
    "time for one crop, median",
    "time for one crop, 90th percentile",
    "crops per second",
    "largest age shift against PyTorch",
    f"age of the portrait ({found_by})",
    "90 % interval of this age",
]
header, *rows = [[name, *values] for name, *values in zip(names, *columns, strict=True)]
print_table(header, rows, f"HAL-Net on {cpu_name()}")
for artifact in exported:
    verb = "DIFFERS from" if artifact.failed else "agrees with"
    print(f"{artifact.path} {verb} {checkpoint.name}")
raise SystemExit(1 if any(artifact.failed for artifact in exported) else 0)
