import pickle

from halnet.errors import ConfigError


def test_a_message_is_one_line_whatever_names_are_in_it() -> None:
    error = ConfigError("a\nb\r\nc.jpg: no such photo; name another one\n")
    assert str(error) == "a\\nb\\nc.jpg: no such photo; name another one"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_control_characters_become_codes() -> None:
    assert str(ConfigError("a\x1b[31m\tb\x7f\x9bä…")) == r"a\x1b[31m\x09b\x7f\x9bä…"


def test_a_message_of_one_line_stays_as_it_is() -> None:
    assert str(ConfigError("C:\\new: no such folder")) == "C:\\new: no such folder"
