"""Export: a checkpoint to deployable artifacts, each checked before it takes its place."""

from halnet.export.config import ExportConfig, Int8Config, Target
from halnet.export.exporter import Exported, export
from halnet.export.formats import FORMATS

__all__ = ["FORMATS", "ExportConfig", "Exported", "Int8Config", "Target", "export"]
