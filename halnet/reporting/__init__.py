"""Reporting: sections of text, tables and figures, as an HTML page, as Markdown and as JSON."""
