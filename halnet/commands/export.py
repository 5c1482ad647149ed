"""`halnet export` and `halnet-export`."""

import json
from pathlib import Path

import click

from halnet.commands.output import needs


@click.command("export")
@click.argument("checkpoint", type=Path, required=False)
@click.option("--format", "format_name", default="onnx", show_default=True, help="onnx.")
@click.option("--precision", default="fp32", show_default=True, help="fp32.")
@click.option("--out", type=Path, default=Path("deploy"), show_default=True, help="Folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    checkpoint: Path | None, format_name: str, precision: str, out: Path, as_json: bool
) -> None:
    """Export CHECKPOINT (default: the bundled model) to a deployable artifact.

    The file takes aligned uint8 crops and gives age, deviation and probabilities: normalisation,
    softmax, expectation, calibration and origin are inside it. manifest.json beside it states
    hash, size and versions; halnet verify adds what it found.
    """
    with needs("export"):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
        import torch  # noqa: F401

        from halnet.export import ExportConfig, export

    exported = export(ExportConfig(checkpoint, format_name, precision, out))
    if as_json:
        click.echo(
            json.dumps(
                {
                    "path": str(exported.path),
                    "bytes": exported.size,
                    "sha256": exported.sha256,
                    "manifest": str(exported.manifest),
                }
            )
        )
        return
    click.echo(f"{exported.path}: {exported.size / 1e6:.1f} MB, SHA-256 {exported.sha256[:12]}...")
    click.echo(f"next: halnet verify {exported.path}")
