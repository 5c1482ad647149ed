"""The processor as Linux describes it, on x86 and Arm, and where it is not described."""

from pathlib import Path

import pytest

from halnet import processor

X86 = (
    "model name\t: A CPU\ncpu MHz\t\t: 2000.0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n"
    "model name\t: A CPU\ncpu MHz\t\t: 3000.0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n"
)
OLD = "model name : An old CPU\nflags : fpu avx2\n"
ARM = "Features\t: fp asimd asimddp i8mm\n"


@pytest.mark.parametrize(
    ("text", "features", "exact"),
    [
        (X86, ["AVX2", "AVX-512", "VNNI"], True),
        (OLD, ["AVX2"], False),
        (ARM, ["dot product", "I8MM"], True),
        ("Features\t: fp asimd\n", [], True),
        ("flags : sse4_2\n", [], False),
        ("", [], None),
    ],
)
def test_instructions_for_fast_integers(
    text: str,
    features: list[str],
    exact: bool | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(text)
    assert processor.cpu_features() == features
    assert processor.adds_8_bit_products_exactly() is exact


def test_another_system_states_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "none")
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert (processor.cpu_flags(), processor.cpu_name()) == (set(), "arm")
    assert processor.adds_8_bit_products_exactly() is None
