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

checkpoint = bundled("halnet.safetensors")
artifact = export(ExportConfig(checkpoint, out=Path("deploy"))).path
parity = verify(VerifyConfig(artifact, checkpoint))
record_parity(artifact, parity.to_dict())

image, face = portrait()
try:
    face = FaceDetector()(image)[0]
    print("The face was found by YuNet.")
except DetectorError as error:
    print(f"No face detector: {error}.\nThe landmarks stored beside the portrait are used instead.")

rows = []
with open_runtime(checkpoint, device="cpu") as pytorch, open_runtime(artifact) as onnxruntime:
    runtimes = [pytorch, onnxruntime]
    for runtime, timing in zip(runtimes, bench(runtimes, BenchConfig(runs=100)), strict=True):
        (result,) = Predictor(runtime).predict_faces(image, [face])
        low, high = result.interval(0.9)
        spec = runtime.spec
        rows.append(
            [
                Path(spec.model).name,
                f"{spec.runtime} {spec.version}",
                f"{spec.provider}, {spec.threads} threads",
                f"{Path(spec.model).stat().st_size / 1e6:.1f}",
                f"{timing.p50:.1f}",
                f"{timing.frames_per_second:.0f}",
                "reference" if runtime is pytorch else f"{parity.maximum:.5f}",
                f"{result.age:.1f} ({low:.0f} to {high:.0f})",
            ]
        )
print_table(
    ["model", "runtime", "on", "MB", "ms", "crops/s", "max age difference", "portrait, 90 %"],
    rows,
    f"{cpu_name()}; differences in years over {parity.count} variants of the portrait",
)
print(f"{'passed' if parity.passed else 'FAILED'}: {artifact} against {checkpoint.name}")
raise SystemExit(0 if parity.passed else 1)
