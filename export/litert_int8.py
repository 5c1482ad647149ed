"""INT8 in LiteRT: which form of it, and which layers stay in floating point, within a budget.

LiteRT runs three forms of INT8. They differ in how far they shift ages, in their time, and in which
processors have fast instructions for them, so that the form is chosen by measurement: each one is
measured with no layer in floating point, and then they are tried from the fastest to the slowest,
until layers can be found that keep one within the budget.
"""

import copy
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from onnx import numpy_helper

from halnet.calibration.age_shift_meter import AgeShiftMeter
from halnet.calibration.budget import AgeShift
from halnet.calibration.equalization import equalize
from halnet.calibration.search import Step, search
from halnet.errors import ArtifactError
from halnet.export.config import Int8Config
from halnet.export.int8_source import Int8Source, OnStep
from halnet.export.litert_forms import FORMS
from halnet.export.litert_quantizer import WEIGHT_BITS, LiteRTQuantizer
from halnet.export.to_litert import open_age_function, trace
from halnet.network.model import AgeNet

MADE_FOR = "processors of any kind"


class LiteRTInt8:
    """Quantizes one network for LiteRT."""

    def __init__(self, source: Int8Source, config: Int8Config, on_step: OnStep) -> None:
        """Convert the network, and measure the ranges of its tensors.

        Raises what `LiteRTQuantizer` raises.
        """
        self._config = config
        self._on_step = on_step
        self._photos = source.samples.validation
        self._calibration = source.samples.calibration
        crops = self._calibration.crops
        on_step(f"converting the network and measuring ranges on {self._calibration}")
        # Similar ranges in all channels, as for the other formats.
        self._proto = source.proto if source.fits_integers else equalize(source.proto, crops)
        network = take_weights(source.network, self._proto)
        data = trace(network, "fp32", source.batch)
        self._quantizer = LiteRTQuantizer(data, self._proto, crops, config.threads)
        self._shifts: dict[tuple[str, tuple[str, ...]], AgeShift] = {}  # by form and kept layers

    def quantize(self, scheme: str, budget_runtime: str, out: Path) -> tuple[Any, dict[str, Any]]:
        """Return the `.tflite` model, and how it was calibrated, for the manifest.

        `scheme` and `budget_runtime` are those of LiteRT, and nothing is written into `out`. Raises
        ArtifactError where no form meets the budget.
        """
        del scheme, out
        config = self._config
        entry: dict[str, Any] = {
            **self._calibration.origin,
            "crops": len(self._calibration),
            "method": config.method,
            "weight_bits": WEIGHT_BITS,
            "made_for": MADE_FOR,
        }
        if self._photos is not None and len(self._photos.data.sets) > 1:
            entry["sets"] = self._photos.to_dict()
        self._meter = self._open_meter()
        start = config.keep or ()
        forms = [form for form in FORMS if config.form in (None, form)]
        shifts = {form: self._measure(form, start) for form in forms}
        entry["forms"] = {form: shift.to_dict() for form, shift in shifts.items()}
        entry |= {"budget": asdict(config.budget), "judged_in": budget_runtime}
        order = sorted(forms, key=lambda form: shifts[form].milliseconds or 0.0)
        if config.keep is None:
            form, best, steps = self._search(order)
        else:  # the fastest form within the budget, or the one that is nearest to it
            within = [name for name in order if config.budget.allows(shifts[name])]
            form = (within or sorted(order, key=lambda name: shifts[name].p99_bound))[0]
            best = Step(start, shifts[form])
            steps = (best,)
        entry |= {
            "scheme": form,
            "kept": list(best.kept),
            "steps": [{"kept": len(step.kept), **step.shift.to_dict()} for step in steps],
        }
        return self._quantizer.quantize(form, frozenset(best.kept)), entry

    def _search(self, order: Sequence[str]) -> tuple[str, Step, tuple[Step, ...]]:
        """Return the first form that meets the budget, its best step, and all of its steps.

        Raises ArtifactError where none does, with the figures of each.
        """
        layers = [layer.name for layer in self._quantizer.quantizable]
        for form in order:
            # Layers are kept from the input on. To rank them too, each would be quantized alone.
            with suppress(ArtifactError):
                measure = partial(self._measure, form)
                return form, *search(layers, lambda: layers, measure, self._config.budget)
        budget = self._config.budget
        found = "; ".join(f"{FORMS[form].words}: {self._figures(form)}" for form in order)
        raise ArtifactError(
            "no INT8 model of LiteRT meets the budget with 95 % confidence: expected 99 % of ages "
            f"to shift by at most {budget.p99:g} years and the MAE to change by at most "
            f"{budget.mae:g} years, found {found}; deploy --precision fp16, or allow more with "
            "--max-mae-delta and --max-p99"
        )

    def _figures(self, form: str) -> str:
        """Return how far a form shifts ages with all layers in integers, and with one."""
        shifts = {len(kept): shift for (name, kept), shift in self._shifts.items() if name == form}
        ends = (shifts[count] for count in (min(shifts), max(shifts)))
        bounds = (f"{shift.p99_bound:.2f}" for shift in ends)
        return "{} years with all layers in integers and {} with one".format(*bounds)

    def _measure(self, form: str, kept: tuple[str, ...]) -> AgeShift:
        """Quantize all layers but those `kept` in floating point, and measure the age shift.

        Only the first call for a form and layers measures it, and reports it.
        """
        key = form, kept
        if key not in self._shifts:
            self._shifts[key] = self._meter(self._quantizer.quantize(form, frozenset(kept)), True)
            self._report(form, Step(kept, self._shifts[key]))
        return self._shifts[key]

    def _report(self, form: str, step: Step) -> None:
        shift, count = step.shift, len(step.kept)
        change = ""
        if shift.delta_mae is not None and self._photos is not None:
            change = f", {self._photos.error_name} {shift.delta_mae:+.3f} years"
        self._on_step(
            f"{FORMS[form].words}, {count} layer{'s' * (count != 1)} kept in floating point: 99 % "
            f"of ages shift by at most {shift.p99:.2f} years (upper bound for other photos: "
            f"{shift.p99_bound:.2f}){change}, {shift.milliseconds:.1f} ms for one crop (litert)"
        )

    def _open_meter(self) -> AgeShiftMeter:
        """Return a meter of the validation photos, or of the calibration crops without a dataset.

        The ages that it compares with are those of the ONNX graph in FP32.
        """
        crops, records = self._calibration.crops, None
        if self._photos is not None:
            records = self._photos.select()
            crops = self._photos.crops(records)
        threads = self._config.threads
        return AgeShiftMeter(self._proto, crops, records, threads, open_age_function)


def take_weights(network: AgeNet, proto: Any) -> AgeNet:
    """Return a copy of a network with the weights of an ONNX model, by their names."""
    changed = copy.deepcopy(network)
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    with torch.no_grad():
        for name, parameter in changed.named_parameters():
            if name in weights:
                parameter.copy_(torch.from_numpy(numpy_helper.to_array(weights[name]).copy()))
    return changed


def open_int8(source: Int8Source, config: Int8Config, on_step: OnStep) -> LiteRTInt8:
    """Return what quantizes a network for LiteRT."""
    return LiteRTInt8(source, config, on_step)
