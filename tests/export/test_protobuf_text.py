"""Protobuf's text format: what is written is read back, and damage is found."""

import pytest

from halnet.export.protobuf_text import Name, parse_text, to_text

MESSAGE = {
    "name": 'a "quoted" \\ name: {1}',
    "max_batch_size": 32,
    "kind": Name("KIND_CPU"),
    "enable": False,
    "input": [{"dims": [-1, 224]}, {"dims": [], "reshape": [{"shape": [1]}]}],
}


def test_a_message_is_written_and_read_back() -> None:
    text = to_text(MESSAGE)
    assert parse_text(text) == MESSAGE
    assert 'name: "a \\"quoted\\" \\\\ name: {1}"\nmax_batch_size: 32\nkind: KIND_CPU\n' in text
    assert "enable: false\ninput {\n  dims: [ -1, 224 ]\n}\n" in text
    assert type(parse_text(text)["kind"]) is Name, "a name is no text"


def test_protobuf_reads_the_same() -> None:
    """The parser of protobuf itself, with a message type that every installation has."""
    descriptor = pytest.importorskip("google.protobuf.descriptor_pb2")
    text_format = pytest.importorskip("google.protobuf.text_format")
    text = to_text(
        {
            "name": 'a "b" \\ ä',
            "dependency": "c",
            "public_dependency": [1, 2],
            "message_type": [
                {"name": "d", "options": [{"deprecated": True}]},
                {"name": "e", "field": [{"number": -3, "label": Name("LABEL_REPEATED")}]},
            ],
        }
    )
    file = text_format.Parse(text, descriptor.FileDescriptorProto())
    assert (file.name, list(file.dependency)) == ('a "b" \\ ä', ["c"])
    assert list(file.public_dependency) == [1, 2]
    first, second = file.message_type
    assert (first.name, first.options.deprecated) == ("d", True)
    assert second.field[0].number == -3
    assert second.field[0].label == descriptor.FieldDescriptorProto.LABEL_REPEATED


def test_comments_and_any_spaces_are_read() -> None:
    text = "# a comment\n  a :1 # another\nb{c:[1,2]}b { c: [ ] }\n# the end"
    assert parse_text(text) == {"a": 1, "b": [{"c": [1, 2]}, {"c": []}]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "a: expected one value, found ''"),
        ("a:", "invalid literal"),
        ("a: 1 a: 2", "a: expected one value, found ':'"),
        ("a: 1 a { }", "a has values of two kinds"),
        ("a { b: 1", "expected a field, found ''"),
        ("a: [1", "invalid literal"),
        ("}", "expected a field, found '}'"),
        ("a: 1 }", "expected a field, found '}'"),
        ('a: "b', "unexpected text"),
        ("a: ?", "unexpected text"),
        ("1: 2", "expected a field, found '1'"),
        ("a: {", "invalid literal"),
    ],
)
def test_damage_is_a_value_error(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_text(text)
