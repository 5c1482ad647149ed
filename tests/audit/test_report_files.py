"""The files of a report: both or none, one page that asks for nothing."""

import json
import re
from pathlib import Path

import pytest

from halnet.audit.report import AuditReport
from halnet.audit.report_files import FILES, check_report_folder, write_report
from halnet.errors import ConfigError


def test_the_page_has_the_figures_of_the_json_and_makes_no_request(
    fake_report: AuditReport, tmp_path: Path
) -> None:
    write_report(tmp_path / "out", fake_report)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    page = (tmp_path / "out" / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    values = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "<script" not in page
    assert "url(http" not in page
    error = values["accuracy"][0]["error"]
    assert f"{error['value']:.2f} ({error['low']:.2f} to {error['high']:.2f})" in page
    checks = next(part for part in values["checks"] if part["legal"] == 18)
    row = next(row for row in checks["challenges"] if row["challenge"] == 25)
    rate = row["let_through"]
    assert 0 < rate["share"] < 1
    text = f"{100 * rate['share']:.1f} % ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"
    assert text in page
    assert "too few" in page
    assert page.index("Not tested:") < page.index("Accuracy:") < page.index("Model and run")
    assert page.count("<svg") == 6, "bands, errors, both errors at 16, 18 and 21, reliability"
    assert values["subject"]["sets"][0]["split_sha256"][:16] in page
    write_report(tmp_path / "out", fake_report)  # over an earlier report


def test_a_folder_with_foreign_files_is_refused(fake_report: AuditReport, tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("mine")
    with pytest.raises(ConfigError, match="one with an earlier report, found thesis.doc in it"):
        write_report(tmp_path, fake_report)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]
    with pytest.raises(ConfigError, match="expected a folder, found that"):
        check_report_folder(tmp_path / "thesis.doc" / "out")
