"""The OpenAPI document of the server: its addresses, what they take, and what they answer."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from halnet import __version__
from halnet.ages import LEVEL, N_AGES
from halnet.artifact import INPUT, INPUT_NAME, OUTPUT_NAMES
from halnet.checks.check import CheckOutcome
from halnet.checks.reasons import REASONS
from halnet.faces.quality import Quality
from halnet.runtimes.inference_protocol import BINARY_SIZE, DTYPES, HEADER_LENGTH
from halnet.serving.bodies import FORM, JSON, PHOTO
from halnet.serving.config import Limits
from halnet.serving.options import CHECK_OPTIONS, PREDICT_OPTIONS, Option

Schema = dict[str, Any]
OCTETS = "application/octet-stream"
BYTES: Schema = {"type": "string", "format": "binary"}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}


def make_document(limits: Limits) -> Schema:
    """Return the OpenAPI document of a server with these limits, in version 3.1."""
    errors = {
        "400": "The request is wrong.",
        "401": "The API key is missing or wrong.",
        "408": f"The request did not come within {limits.seconds:g} seconds.",
        "413": f"The body has more than {limits.bytes:,} bytes.",
        "415": "The body is compressed.",
        "429": f"The server has {limits.requests} requests already. Send it again later.",
        "503": f"The answer was not ready within {limits.seconds:g} seconds.",
    }
    photo_errors = errors | {
        "422": f"The photo cannot be read, has more than {limits.pixels:,} pixels or more than "
        f"{limits.faces} faces."
    }
    crop_errors = errors | {"404": "There is no such model."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "halnet",
            "version": __version__,
            "summary": "Ages of the faces in photos",
            "description": "A photo is processed in memory, and neither stored nor logged.",
        },
        "paths": {
            "/predict": {
                "post": _operation(
                    "Find the faces of photos and predict their ages",
                    "The bytes of a photo, or JSON with a photo in base64, give one result. The "
                    f"files of a form, at most {limits.photos}, give a list of results in their "
                    'order; a file that cannot be read has "error" in its result.',
                    {"oneOf": [_ref("PhotoResult"), _list(_ref("PhotoResult"))]},
                    photo_errors,
                    PREDICT_OPTIONS,
                    _photo_bodies(),
                )
            },
            "/check": {
                "post": _operation(
                    "Check whether a person looks clearly as old as a legal age",
                    "Several files of a form are photos of the same person. The answer is an audit "
                    "record without a picture.",
                    _ref("AgeCheck"),
                    photo_errors,
                    CHECK_OPTIONS,
                    _photo_bodies(),
                )
            },
            "/health": {
                "get": _operation(
                    "Whether the server works",
                    "The status is 503 if it is about to end.",
                    _object({"status": {"enum": ["ok", "ending"]}}),
                    ends=True,
                )
            },
            "/info": {
                "get": _operation(
                    "Which model runs, and how",
                    "It states the model that was loaded, even if its file has changed since.",
                    _ref("Info"),
                    {"401": errors["401"]},
                )
            },
            "/metrics": {
                "get": _operation(
                    "What was counted, for Prometheus",
                    "",
                    STRING,
                    {"401": errors["401"]},
                    media=("text/plain",),
                )
            },
            "/v2": {
                "get": _operation(
                    "Name and extensions of the server (Open Inference Protocol)",
                    "",
                    _object({"name": STRING, "version": STRING, "extensions": _list(STRING)}),
                    {"401": errors["401"]},
                )
            },
            "/v2/health/live": {
                "get": _operation("Whether the server runs", "", _object({"live": BOOLEAN}))
            },
            "/v2/health/ready": {
                "get": _operation(
                    "Whether the server should get requests",
                    "The status is 503 if it should not.",
                    _object({"ready": BOOLEAN}),
                    ends=True,
                )
            },
            **_model_paths("/v2/models/{name}", ("name",), crop_errors),
            **_model_paths(
                "/v2/models/{name}/versions/{version}", ("name", "version"), crop_errors
            ),
        },
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _model_paths(path: str, names: Sequence[str], errors: dict[str, str]) -> Schema:
    """Return the addresses of the Open Inference Protocol below the path of a model."""
    known = {status: errors[status] for status in ("401", "404")}
    return {
        path: {
            "get": _operation(
                "Inputs, outputs and metadata of the model",
                "The parameters are the halnet.* properties of the model file.",
                _ref("ModelMetadata"),
                known,
                path_names=names,
            )
        },
        f"{path}/ready": {
            "get": _operation(
                "Whether the model should get requests",
                "",
                _object({"name": STRING, "ready": BOOLEAN}),
                known,
                path_names=names,
                ends=True,
            )
        },
        f"{path}/infer": {
            "post": _operation(
                "Run the model on aligned crops",
                f"The input {INPUT_NAME} is UINT8 of the shape N x {INPUT.size} x {INPUT.size} "
                "x 3, RGB, made by halnet's alignment. The outputs are "
                f"{', '.join(OUTPUT_NAMES)}. With {BINARY_SIZE}, the numbers follow the JSON "
                f"as bytes, and the header field {HEADER_LENGTH} states the length of the "
                "JSON, in the request and in the answer.",
                _ref("InferResponse"),
                errors,
                bodies={JSON: _ref("InferRequest"), OCTETS: BYTES},
                media=(JSON, OCTETS),
                path_names=names,
            )
        },
    }


def _operation(
    summary: str,
    description: str,
    answer: Schema,
    errors: dict[str, str] | None = None,
    options: Sequence[Option] = (),
    bodies: dict[str, Schema] | None = None,
    media: Sequence[str] = (JSON,),
    path_names: Sequence[str] = (),
    ends: bool = False,
) -> Schema:
    """Return an operation. With `ends`, the answer of a server that will end has the status 503."""
    content = {kind: {"schema": BYTES if kind == OCTETS else answer} for kind in media}
    failed = {JSON: {"schema": _ref("Error")}}
    responses: dict[str, Schema] = {"200": {"description": "The result.", "content": content}}
    if ends:
        responses["503"] = {"description": "The server is about to end.", "content": content}
    for status, text in (errors or {}).items():
        responses[status] = {"description": text, "content": failed}
    named = [{"name": n, "in": "path", "required": True, "schema": STRING} for n in path_names]
    parameters = [*named, *(option.to_openapi() for option in options)]
    operation: Schema = {"summary": summary, "responses": responses}
    if description:
        operation["description"] = description
    if parameters:
        operation["parameters"] = parameters
    if bodies:
        contents = {kind: {"schema": schema} for kind, schema in bodies.items()}
        operation["requestBody"] = {"required": True, "content": contents}
    return operation


def _photo_bodies() -> dict[str, Schema]:
    base64 = {"type": "string", "contentEncoding": "base64"}
    files = {"type": "object", "additionalProperties": {"anyOf": [BYTES, _list(BYTES)]}}
    return {"image/*": BYTES, FORM: files, JSON: _object({PHOTO: base64})}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: Schema, count: int | None = None) -> Schema:
    return {"type": "array", "items": items} | (
        {} if count is None else {"minItems": count, "maxItems": count}
    )


def _or_null(schema: Schema) -> Schema:
    return {"oneOf": [schema, {"type": "null"}]}


def _object(properties: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """Return the schema of an object that has all of `properties`, and nothing unknown."""
    return {
        "type": "object",
        "properties": properties | (optional or {}),
        "required": list(properties),
        "additionalProperties": False,
    }


def _about(text: str, schema: Schema) -> Schema:
    return {**schema, "description": text}


_TENSOR = {
    "name": STRING,
    "datatype": {"enum": list(DTYPES)},
    "shape": _list(INTEGER),
}
_SENT_TENSOR = _object(
    _TENSOR,
    {
        "data": _about("The numbers, in one list or nested.", {"type": "array"}),
        "parameters": {"type": "object", "properties": {BINARY_SIZE: INTEGER}},
    },
)
_QUALITY = _object({entry.name: {"type": ["number", "null"]} for entry in fields(Quality)})
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}

SCHEMAS: dict[str, Schema] = {
    "Error": _object({"error": _about("One line: what was wanted, what was found.", STRING)}),
    "Face": _object(
        {
            "age": _about("Years.", {"type": "number", "minimum": 0, "maximum": N_AGES - 1}),
            "stddev": _about("Standard deviation of the age distribution, years.", NUMBER),
            "interval": _about("Low and high, years.", _list(NUMBER, 2)),
            "level": _about(f"Coverage of the interval, such as {LEVEL}.", _SHARE),
            "box": _about("x, y, width and height in pixels.", _list(NUMBER, 4)),
            "landmarks": _about(
                "x and y in pixels: both eyes, nose, both corners of the mouth.",
                _list(_list(NUMBER, 2), 5),
            ),
            "score": _about("Confidence of the detection.", _SHARE),
            "turned": _about("Degrees by which the face is turned clockwise.", INTEGER),
            "quality": _about("How well the age can be judged.", _QUALITY),
            "track": _about("Of videos only.", {"type": "null"}),
        },
        {
            "at_least": _about(
                "Probability of being as old or older, by age.",
                {"type": "object", "additionalProperties": _SHARE},
            )
        },
    ),
    "PhotoResult": _object(
        {
            "format": _about("Version of this object.", INTEGER),
            "photo": _about("Name of the file in a form.", STRING),
            "faces": _about("The largest first.", _list(_ref("Face"))),
        },
        {"error": _about("Why the photo cannot be read.", STRING)},
    ),
    "AgeCheck": _object(
        {
            "format": INTEGER,
            "time": {"type": "string", "format": "date-time"},
            "outcome": {"enum": [outcome.value for outcome in CheckOutcome]},
            "reason": _about("Why the person does not pass, in whole sentences.", STRING),
            "age": {"type": ["number", "null"]},
            "interval": _or_null(_list(NUMBER, 2)),
            "level": _SHARE,
            "probability": _about(
                "Calibrated, of the legal age or more.", {"type": ["number", "null"]}
            ),
            "quality": _or_null(_QUALITY),
            "findings": _list({"type": "object"}),
            "liveness": {"const": "not run"},
            "photos": _about("Number of photos that can be used.", INTEGER),
            "unused": {"type": "object", "additionalProperties": INTEGER},
            "policy": {"type": "object"},
            "limits": _object({reason.name: NUMBER for reason in REASONS}),
            "model": _object(
                {
                    "name": STRING,
                    "checkpoint_sha256": STRING,
                    "precision": STRING,
                    "runtime": STRING,
                }
            ),
            "halnet": STRING,
        }
    ),
    "Info": _object(
        {
            "halnet": _about("Version.", STRING),
            "python": STRING,
            "libraries": {"type": "object", "additionalProperties": STRING},
            "model": _about(
                "As halnet info --json states it, with the SHA-256 of the file that was loaded.",
                {
                    "type": "object",
                    "properties": {"file": STRING, "sha256": {"type": ["string", "null"]}},
                    "required": ["file", "sha256", "runtime", "precision", "checkpoint_sha256"],
                },
            ),
            "workers": _about("Photos that are processed at the same time.", INTEGER),
            "batch": _about("Most crops of several requests in one inference.", INTEGER),
            "limits": _object(
                {
                    entry.name: NUMBER if entry.name == "seconds" else INTEGER
                    for entry in fields(Limits)
                }
            ),
            "format": _about("Version of the results.", INTEGER),
        }
    ),
    "ModelMetadata": _object(
        {
            "name": STRING,
            "versions": _list(STRING),
            "platform": STRING,
            "inputs": _list(_object(_TENSOR)),
            "outputs": _list(_object(_TENSOR)),
            "parameters": {"type": "object", "additionalProperties": STRING},
        }
    ),
    "InferRequest": {
        "type": "object",
        "properties": {
            "id": STRING,
            "parameters": {"type": "object", "properties": {"binary_data_output": BOOLEAN}},
            "inputs": _list(_SENT_TENSOR, 1),
            "outputs": _list(
                {
                    "type": "object",
                    "properties": {
                        "name": {"enum": list(OUTPUT_NAMES)},
                        "parameters": _object({}, {"binary_data": BOOLEAN}),
                    },
                    "required": ["name"],
                }
            ),
        },
        "required": ["inputs"],
    },
    "InferResponse": _object(
        {"model_name": STRING, "model_version": STRING, "outputs": _list(_SENT_TENSOR)},
        {"id": STRING},
    ),
}
