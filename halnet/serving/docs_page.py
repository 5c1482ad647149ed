"""The page at /docs: the OpenAPI document as HTML, without scripts and without other servers."""

import json
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem;
  color: CanvasText; background: Canvas; }
:root { color-scheme: light dark; }
h2 { margin: 2.5rem 0 0.5rem; font-size: 1.1rem; }
code, pre { font: 14px/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; padding: 0.75rem; border: 1px solid #8886; border-radius: 6px; }
td, th { text-align: left; vertical-align: top; padding: 0.2rem 1rem 0.2rem 0; }
"""


def make_page(document: dict[str, Any]) -> str:
    """Return an HTML page that shows an OpenAPI document."""
    info = document["info"]
    operations = [
        _operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [
        f'<h2 id="{name}">{name}</h2>{_pre(schema)}'
        for name, schema in document["components"]["schemas"].items()
    ]
    title = f"{escape(info['title'])} {escape(info['version'])}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>{title}</h1><p>{escape(info['summary'])}. {escape(info['description'])} Programs "
        'read the same as <a href="openapi.json">openapi.json</a>.</p>'
        f"{''.join(operations)}<h1>Schemas</h1>{''.join(schemas)}</html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [
        f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}. "
        f"{escape(operation.get('description', ''))}</p>"
    ]
    queries = [p for p in operation.get("parameters", ()) if p["in"] == "query"]
    if queries:
        rows = [[p["name"], p["description"], json.dumps(p["schema"])] for p in queries]
        parts.append(_table(("option", "meaning", "values"), rows))
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Body of the type <code>{escape(kind)}</code>:</p>{_pre(body['schema'])}")
    rows = [
        [status, answer["description"], " ".join(_names(answer))]
        for status, answer in operation["responses"].items()
    ]
    return "".join([*parts, _table(("status", "meaning", "schema"), rows)])


def _names(answer: dict[str, Any]) -> list[str]:
    """Return the schemas of an answer."""
    return [json.dumps(body["schema"]) for body in answer["content"].values()]


def _table(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _pre(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, indent=1))}</pre>"
