"""The section of a report about what was tested."""

from halnet.audit.subject import Subject
from halnet.reporting.sections import Cell, Section, Table

NOT_STATED = "not stated"


def subject_section(subject: Subject) -> Section:
    """Return the section."""
    model = subject.model
    minors = f"{sum(model.minor_photos):,}" if sum(model.minor_photos) else "none"
    values: list[tuple[Cell, ...]] = [
        ("model file", model.file),
        ("SHA-256 of the model file", model.artifact_sha256 or "there is no file"),
        ("SHA-256 of its checkpoint", model.checkpoint_sha256 or NOT_STATED),
        ("precision", model.precision),
        ("licence of the weights", model.licence or NOT_STATED),
        ("terms", model.terms or NOT_STATED),
        ("trained on", ", ".join(model.trained_on) or NOT_STATED),
        ("calibration of intervals", model.calibration),
        ("calibration photos of people under 18", minors),
        ("fingerprint of the input", model.input),
        ("detector of the faces", subject.detector),
        ("runtime", model.software),
        ("threads of an inference", str(model.threads or "chosen by the library")),
        ("halnet", subject.halnet),
        ("system", subject.system),
        ("made", subject.created),
        ("command", subject.command),
    ]
    if subject.limit:
        values.append(("limit", f"{subject.limit:,} photos of each dataset, spread evenly"))
    rows: list[tuple[Cell, ...]] = [
        (
            part.name,
            part.photos,
            part.exact,
            part.minors,
            part.split,
            part.split_sha256[:16],
            _describe_relation(part.relation),
            None if part.eye_distance is None else round(part.eye_distance),
            part.origin,
        )
        for part in subject.sets
    ]
    columns = (
        *("dataset", "photos", "of these with an exact age", "of these surely under 18", "part"),
        *("split, first digits of SHA-256", "what the model knows of it"),
        *("median distance of the eyes, pixels", "how the photos were taken, as far as known"),
    )
    return Section(
        "What was tested",
        ("Faces were found in the original photos for this report.",)
        if subject.from_photos
        else (
            "The report starts from prepared crops of faces, which halnet prepare made from the "
            "photos.",
        ),
        (
            Table(("what", "value"), tuple(values), "Model and run"),
            Table(columns, tuple(rows), "Photos"),
        ),
    )


def _describe_relation(relation: str) -> str:
    return {
        "home": "trained on other photos of it",
        "away": "never saw it",
        "other split": "trained on it by another split",
        "unknown": "not known",
    }.get(relation, relation)
