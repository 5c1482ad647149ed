"""Markdown: tables and whole reports as text."""

from collections.abc import Iterable, Sequence

from halnet.reporting.sections import Section


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, in which each row has one cell for each column."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_escape, line))} |" for line in lines)


def render_markdown(title: str, intro: str, sections: Sequence[Section]) -> str:
    """Return a report as Markdown. Figures are left out: the tables have their values."""
    parts = [f"# {title}", intro]
    for section in sections:
        parts.append(f"## {section.title}")
        parts += [f"**Warning:** {warning}" for warning in section.warnings]
        parts += section.text
        parts.append("\n".join(f"- **{name}:** {text}" for name, text in section.points))
        for table in section.tables:
            parts += [f"**{table.title}**"] if table.title else []
            parts.append(markdown_table(table.columns, table.texts))
    return "\n\n".join(part for part in parts if part) + "\n"


def _escape(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").split())
