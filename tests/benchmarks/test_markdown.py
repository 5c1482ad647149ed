import pytest

from halnet.benchmarks.markdown import print_markdown


def test_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_markdown(["graph", "ms"], [["all", "7.07"], ["plain export", "8.50"]])
    assert capsys.readouterr().out == (
        "| graph | ms |\n| --- | --- |\n| all | 7.07 |\n| plain export | 8.50 |\n"
    )
