from typing import Any

import numpy as np

from halnet.calibration.age_shift_meter import AgeShiftMeter
from halnet.calibration.budget import AgeShift
from halnet.calibration.layers import Layer
from halnet.calibration.quantizer import Quantizer
from halnet.calibration.sensitivity import Sensitivity, rank_layers, to_csv
from halnet.datasets.record import Record


def test_layers_are_ranked_by_the_shift_that_each_alone_causes(
    tiny_graph: Any, crops: np.ndarray
) -> None:
    quantizer = Quantizer(tiny_graph, crops)
    meter = AgeShiftMeter(tiny_graph, crops, [Record("", 30, 30)] * len(crops))
    ranking = rank_layers(quantizer, "unsigned", meter)
    assert {line.layer for line in ranking} == set(quantizer.quantizable)
    means = [line.shift.mean for line in ranking]
    assert means == sorted(means, reverse=True)
    assert means[-1] > 0
    others = {line.layer.name for line in ranking[1:]}
    assert ranking[0].shift == meter(quantizer.quantize("unsigned", others))


def test_the_ranking_as_csv() -> None:
    ranking = [
        Sensitivity(Layer("first", "stem", ()), AgeShift(2, 4, 8, 16, 0.08)),
        Sensitivity(Layer("second", "SE gate", ()), AgeShift(0.12345, 0.5, 1, 2, None)),
    ]
    assert to_csv(ranking) == (
        "layer,role,mean,p99,maximum,delta_mae\n"
        "first,stem,2.0000,4.0000,16.0000,+0.0800\n"
        "second,SE gate,0.1235,0.5000,2.0000,\n"
    )
