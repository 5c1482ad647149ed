"""Export: writes a checkpoint as deployable artifacts and checks each before it is put in place."""

from halnet.export.config import ExportConfig, Int8Config, Target
from halnet.export.exported import Exported
from halnet.export.exporter import export
from halnet.export.formats import FORMATS

__all__ = ["FORMATS", "ExportConfig", "Exported", "Int8Config", "Target", "export"]
