"""Samples of INT8: the crops that ranges are measured on, and the photos that judge the budget."""

from collections.abc import Callable
from dataclasses import dataclass

from halnet.calibration.crops import CalibrationCrops, pick_calibration_crops
from halnet.calibration.folder_crops import find_calibration_crops
from halnet.calibration.synthetic import make_synthetic_crops
from halnet.calibration.validation_photos import ValidationPhotos, find_validation_photos
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.export.config import Int8Config
from halnet.network.checkpoint import Checkpoint


@dataclass(frozen=True, eq=False)
class Int8Samples:
    """What a network is quantized with."""

    calibration: CalibrationCrops  # ranges are measured on them
    validation: ValidationPhotos | None  # they judge the budget; None: the calibration crops do


def find_samples(
    config: Int8Config, checkpoint: Checkpoint, on_step: Callable[[str], None]
) -> Int8Samples:
    """Return crops of a folder's photos, of the validation photos, or synthetic ones.

    `on_step` is called with a line before each step that takes long. Raises DatasetError for
    photos on which ranges cannot be measured, and what `find_calibration_crops` raises.
    """
    sets = [PreparedDataset(path) for path in config.data]
    data = DataCollection(sets) if sets else None
    validation = find_validation_photos(data, checkpoint) if data else None
    return Int8Samples(_pick_crops(config, checkpoint, data, validation, on_step), validation)


def _pick_crops(
    config: Int8Config,
    checkpoint: Checkpoint,
    data: DataCollection | None,
    validation: ValidationPhotos | None,
    on_step: Callable[[str], None],
) -> CalibrationCrops:
    if config.photos is not None:
        on_step(f"finding faces in {config.photos}")
        found = find_calibration_crops(
            config.photos, checkpoint, config.crops, config.seed, config.detector, data
        )
        if found.left_out:
            on_step(f"{found.left_out} photos are left out: they are copies of test photos")
        return found
    if validation is not None:
        return pick_calibration_crops(validation, config.crops, config.seed)
    on_step(
        "making synthetic crops from the batch norms of the checkpoint, which takes some minutes; "
        "with --data or --calibration, photos are used instead"
    )
    return make_synthetic_crops(checkpoint, seed=config.seed)
