"""Export the bundled checkpoint, verify and time it, predict the bundled portrait: one table."""

from pathlib import Path

from halnet import FaceDetector, Predictor
from halnet.artifact import bundled
from halnet.benchmarks.parity import VerifyConfig, verify
from halnet.benchmarks.samples import portrait
from halnet.benchmarks.speed import BenchConfig, bench, cpu_name
from halnet.commands.output import print_table
from halnet.errors import DetectorError
from halnet.export import ExportConfig, export
from halnet.manifest import record_parity
from halnet.runtimes import open_runtime

OUT = Path("build/demo")

checkpoint = bundled("halnet.safetensors")
artifact = export(ExportConfig(checkpoint, out=OUT)).path
parity = verify(VerifyConfig(artifact, checkpoint))
record_parity(artifact, parity.data, parity.to_dict())

image, face = portrait()
try:
    face = FaceDetector()(image)[0]
    found_by = "YuNet"
except DetectorError as error:
    print(f"{error}.\nHere the landmarks stored beside the portrait are used instead.\n")
    found_by = "stored landmarks"

columns = []
with open_runtime(checkpoint, device="cpu") as pytorch, open_runtime(artifact) as onnxruntime:
    runtimes = [pytorch, onnxruntime]
    for runtime, timing in zip(runtimes, bench(runtimes, BenchConfig(runs=100)), strict=True):
        (result,) = Predictor(runtime).predict_faces(image, [face])
        low, high = result.interval(0.9)
        spec = runtime.spec
        columns.append(
            [
                spec.version,
                f"{spec.provider}, {spec.threads} threads",
                Path(spec.model).name,
                f"{Path(spec.model).stat().st_size / 1e6:.1f} MB",
                f"{timing.p50:.1f} ms",
                f"{timing.p90:.1f} ms",
                f"{timing.frames_per_second:.0f}",
                "reference" if runtime is pytorch else f"{parity.maximum:.5f} years",
                f"{result.age:.1f} years",
                f"{low:.0f} to {high:.0f} years",
            ]
        )
names = [
    "version",
    "runs on",
    "model file",
    "size",
    "one crop, median",
    "one crop, 90th percentile",
    "crops a second",
    f"largest difference, {parity.count} crops",
    f"age of the portrait ({found_by})",
    "its 90 % interval",
]
rows = [[name, *values] for name, *values in zip(names, *columns, strict=True)]
print_table(["", "PyTorch", "ONNX Runtime"], rows, f"HAL-Net on {cpu_name()}")
print(f"{artifact} {'agrees with' if parity.passed else 'DIFFERS from'} {checkpoint.name}")
raise SystemExit(0 if parity.passed else 1)
