"""The JSON Schema in the package: it is that of the report, and it refuses what is wrong."""

import json
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

import pytest

from halnet.audit.comparison import compare
from halnet.audit.report import SCHEMA_FILE, SCHEMA_TITLE, AuditReport
from halnet.audit.schema import about, build_schema

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    text = (files("halnet.audit") / SCHEMA_FILE).read_text(encoding="utf-8")
    return dict(json.loads(text))


@pytest.fixture
def values(fake_report: AuditReport) -> dict[str, Any]:
    return dict(json.loads(fake_report.to_json()))


def test_the_file_is_that_of_the_report(schema: dict[str, Any]) -> None:
    assert schema == build_schema(AuditReport, SCHEMA_TITLE), (
        "write the result of build_schema into the file again"
    )
    jsonschema.Draft202012Validator.check_schema(schema)


def test_a_report_is_valid(
    schema: dict[str, Any], values: dict[str, Any], fake_report: AuditReport
) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(values)
    comparison = compare(fake_report.photos, fake_report.subject, fake_report.photos)
    validator.validate(json.loads(replace(fake_report, comparison=comparison).to_json()))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("kind",), "benchmark"),
        (("min_photos",), "20"),
        (("refusals", "not_known"), -1),
        (("error_sizes", 0, "everyone", "low"), 2),
        (("surprise",), 1),
        (("accuracy", 0, "coverage", "share"), 1.5),
        (("accuracy", 0, "labels"), "guessed"),
        (("checks", 0, "challenges", 3, "referred", "hits"), -1),
        (("checks", 0, "bands"), None),
        (("photos", "age", 0), "17"),
        (("subject", "model", "minor_photos"), 3),
    ],
)
def test_wrong_values_are_refused(
    schema: dict[str, Any], values: dict[str, Any], place: tuple[Any, ...], value: object
) -> None:
    part: Any = values
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    assert not jsonschema.Draft202012Validator(schema).is_valid(values)


def test_a_missing_part_is_refused(schema: dict[str, Any], values: dict[str, Any]) -> None:
    del values["subject"]["created"]
    assert not jsonschema.Draft202012Validator(schema).is_valid(values)


def test_a_type_without_json_is_refused() -> None:
    @dataclass
    class Wrong:
        value: bytes = field(metadata=about("Bytes."))

    with pytest.raises(TypeError, match="expected a type that JSON has, found <class 'bytes'>"):
        build_schema(Wrong, "wrong")
