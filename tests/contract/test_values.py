"""Typed values survive the trip through YAML files and argument lists; what is no plain data is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepline.contract.values import flatten, format_value, parse_override, parse_value, same_value
from sweepline.contract.yamlfile import Document, parse_yaml, read_yaml
from sweepline.errors import ConfigError

NUMBERS = [0, 1, -1, 10**30, 0.0, -0.0, 1.0, 1e-4, 1e-300, 5e-324, 1e16, 1e22, math.inf, -math.inf, math.nan]
TEXTS = [
    "",
    "a b",
    " leading",
    "trailing ",
    "line\nbreak",
    "nul\0byte",
    "tab\tbed",
    "escape\x1b[0m",
    "next\x85line",
    "separator\u2028line",
    "\ufeffmark",
    "ünïcødé 火 😀",
    "it's",
    '"quoted"',
    "back\\slash",
    "$(rm -rf .)",
    "a=b",
    "-x",
    "--flag",
]
TEXTS_THAT_LOOK_LIKE_SOMETHING_ELSE = [
    *[
        "1",
        "1.0",
        "1e-4",
        "-0.0",
        "1E5",
        "1_000",
        "017",
        "0x1F",
        "0b11",
        ".5",
        "1.",
        ".inf",
        "-.inf",
        ".nan",
        "12:30:45",
    ],
    *["true", "True", "yes", "No", "on", "OFF", "y", "n", "null", "Null", "~", "2024-01-01", "=", "<<"],
    *["[1, 2]", "{a: 1}", "a: b", "a #b", "# b", "- x", "? x", "---", "...", "-", "|", ">", "%", "@", "`"],
    *["*alias", "&anchor x", "!tag x", "!!int 1", "'1'", ".", "..", "./x"],
]
NESTED = [
    [],
    {},
    [1, 2],
    [1, 1.0, True, None, "1"],
    [["a"], [], [[]]],
    {"a": {"b": [None, True, -0.0, "1e-4"]}},
    {"yes": "no", "": "", "<<": {"a": 1}, "1": 1, "a b": "x: y"},
]
ALL_VALUES = [None, True, False, *NUMBERS, *TEXTS, *TEXTS_THAT_LOOK_LIKE_SOMETHING_ELSE, *NESTED]


def scalars() -> st.SearchStrategy[Any]:
    return st.none() | st.booleans() | st.integers() | st.floats() | st.text()


def values() -> st.SearchStrategy[Any]:
    return st.recursive(
        scalars(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )


def refusal_of(text: str) -> str:
    """Return the message with which YAML text is refused."""
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "f.yaml")
    return str(caught.value)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "f.yaml"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("value", ALL_VALUES, ids=repr)
def test_a_value_arrives_as_it_left(value: Any) -> None:
    assert repr(parse_value(format_value(value))) == repr(value)


@given(values())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_value_arrives_as_it_left(value: Any) -> None:
    assert repr(parse_value(format_value(value))) == repr(value)


@given(st.text(alphabet="ab01eE.+-_:#[]{},&*!|>'\"%@` \t\n~?=<\\é", max_size=12))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_text_of_yaml_signs_arrives_as_it_left(text: str) -> None:
    assert parse_value(format_value(text)) == text


@given(values())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_written_value_is_one_printable_line(value: Any) -> None:
    assert format_value(value).isprintable()


@given(st.text(max_size=30))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_an_argument_that_is_no_yaml_is_read_as_text(text: str) -> None:
    parse_value(text)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (True, "true"),
        (None, "null"),
        (-0.0, "-0.0"),
        ([1, 2], "[1, 2]"),
        ("adam", "adam"),
        ("a b", "a b"),
        ("true", '"true"'),
        ("1e-4", '"1e-4"'),
    ],
)
def test_a_value_is_written_as_a_person_would(value: Any, written: str) -> None:
    assert format_value(value) == written


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1e5", 1e5),
        ("-1E+5", -1e5),
        ("1.5e3", 1500.0),
        ("1_000", 1000),
        ("0x1F", 31),
        ("None", "None"),
        ("1e5x", "1e5x"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01 10:00:00", "2024-01-01 10:00:00"),
        ("y", "y"),
    ],
)
def test_a_plain_word_has_the_type_of_yaml_1_1_with_exponents_and_without_dates(text: str, value: Any) -> None:
    assert repr(parse_yaml(f"a: {text}", "f.yaml").value) == repr({"a": value})


def test_a_comma_in_brackets_makes_a_list() -> None:
    assert parse_value("[sgd, 1e-3, true]") == ["sgd", 1e-3, True]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file$"):
        read_yaml(tmp_path / "nowhere.yaml")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path)


def test_a_file_larger_than_any_config_is_refused_unread(tmp_path: Path) -> None:
    path = write(tmp_path, b"a: 1\n")
    with path.open("r+b") as file:
        file.truncate(11 * 2**20)

    with pytest.raises(ConfigError, match="larger than 4 MiB"):
        read_yaml(path)


def test_bytes_that_are_not_utf8_are_refused_with_their_line(tmp_path: Path) -> None:
    path = write(tmp_path, b"a: 1\nb: \xff\n")

    with pytest.raises(ConfigError, match=r"f\.yaml:2: not UTF-8"):
        read_yaml(path)


def test_a_path_below_the_working_directory_is_shown_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cfg").mkdir()
    path = write(tmp_path / "cfg", b"a: [\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError, match=r"^cfg/f\.yaml:2:1: "):
        read_yaml(path)


@pytest.mark.parametrize(
    "content",
    [b"a: 1\r\nb: x\r\n", b"a: 1\nb: x", b"\xef\xbb\xbfa: 1\nb: x\n", b"a: 1\rb: x\r"],
    ids=["CRLF", "no final newline", "byte order mark", "CR"],
)
def test_a_file_reads_alike_with_any_line_end(tmp_path: Path, content: bytes) -> None:
    assert read_yaml(write(tmp_path, content)).value == {"a": 1, "b": "x"}


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# only a remark\n"])
def test_a_file_without_content_reads_as_nothing(tmp_path: Path, content: bytes) -> None:
    assert read_yaml(write(tmp_path, content)).value is None


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: [1, 2\nb: 3\n", "f.yaml:2:2:"),
        ("a: 1\n b: 2\n", "f.yaml:2:3:"),
        ('a: 1\nb: "x\n', "f.yaml:3:1:"),
        ("a: *x\n", "f.yaml:1:4:"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1:"),
        ("a:\n\tb: 1\n", "f.yaml:2:1:"),
    ],
    ids=["open list", "indent", "open quote", "unknown alias", "two documents", "tab"],
)
def test_a_yaml_error_says_file_line_and_column(text: str, where: str) -> None:
    assert refusal_of(text).startswith(f"{where} YAML syntax: ")


@pytest.mark.parametrize("char", ["\0", "\x01"])
def test_a_control_character_in_a_file_is_refused_with_its_line(char: str) -> None:
    assert refusal_of(f"a: 1\nb: x{char}y\n").startswith("f.yaml:2:")


@pytest.mark.parametrize("text", ["a:\n\tb: 1\n", "a:\n  b: 1\n\tc: 2\n", "\ta: 1\n", "a:\n\t- 1\n"])
def test_a_tab_as_indent_is_named(text: str) -> None:
    assert "indent with spaces, not tabs" in refusal_of(text)


def test_no_tab_is_blamed_where_there_is_none() -> None:
    assert "tab" not in refusal_of("a: 1\n b: 2\n")


def test_a_key_written_twice_keeps_its_last_value() -> None:
    assert parse_yaml("a: 1\nb: 2\na: 3\n", "f.yaml").value == {"a": 3, "b": 2}


@pytest.mark.parametrize(
    ("text", "duplicates"),
    [
        ("a: 1\nb: 2\n", ()),
        ("a: 1\nb: 2\na: 3\n", ((("a",), 3),)),
        ("p:\n  a: 1\n  a: 2\n", ((("p", "a"), 3),)),
        ("1: a\n'1': b\n", ()),
    ],
)
def test_a_key_written_twice_is_noticed_with_its_line(text: str, duplicates: tuple[Any, ...]) -> None:
    assert parse_yaml(text, "f.yaml").duplicates == duplicates


def test_a_merge_key_is_no_duplicate_and_yields_to_own_keys() -> None:
    document = parse_yaml("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  x: 3\n", "f.yaml")

    assert (document.value["b"], document.duplicates) == ({"x": 3, "y": 2}, ())


def test_the_first_of_several_merged_mappings_wins() -> None:
    document = parse_yaml("a: &a {x: 1}\nb: &b {x: 2, z: 3}\nc:\n  <<: [*a, *b]\n", "f.yaml")

    assert document.value["c"] == {"x": 1, "z": 3}


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]\n",
        "a: &a {b: *a}\n",
        "a: " + "[" * 150 + "]" * 150,
        "a: " + "[" * 5000 + "]" * 5000,
        "a0: &a0 [x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]\n" for i in range(1, 12)),
    ],
    ids=["list in itself", "mapping in itself", "150 deep", "5000 deep", "alias bomb"],
)
def test_structures_beyond_any_reasonable_size_are_refused(text: str) -> None:
    assert "beyond any reasonable size" in refusal_of(text)


PYTHON_TAGS = {
    "call in a list": '!!python/object/apply:os.mkdir ["{made}"]',
    "new object in a list": '!!python/object/new:os.mkdir ["{made}"]',
    "call in a mapping": '!!python/object/apply:os.mkdir {{args: ["{made}"]}}',
    "object in a mapping": "!!python/object:types.SimpleNamespace {{x: 1}}",
    "name": "!!python/name:os.mkdir ''",
    "module": "!!python/module:os ''",
    "tuple": "!!python/tuple [1, 2]",
}


@pytest.mark.parametrize("tagged", PYTHON_TAGS.values(), ids=PYTHON_TAGS)
def test_a_tag_for_python_objects_is_refused(tagged: str) -> None:
    assert refusal_of(f"x: 1\na: {tagged.format(made='made')}\n").startswith("f.yaml:2: ")


def test_a_tag_for_python_objects_calls_nothing(tmp_path: Path) -> None:
    made = tmp_path / "made"

    parse_value(PYTHON_TAGS["call in a list"].format(made=made))

    assert not made.exists()


@pytest.mark.parametrize("tagged", ["!own 1", "!own [1]", "!own {a: 1}", "!!set {a, b}"])
def test_a_tag_that_no_config_needs_is_refused(tagged: str) -> None:
    assert refusal_of(f"a: {tagged}\n").startswith("f.yaml:1: ")


@pytest.mark.parametrize("tagged", ["!!binary aGk=", "!!timestamp 2024-01-01"])
def test_bytes_and_dates_asked_for_by_tag_are_refused(tagged: str) -> None:
    assert refusal_of(f"a: {tagged}\n").startswith("f.yaml:1: ")


@pytest.mark.parametrize(
    "tagged", ["!!int x", "!!int ''", "!!float x", "!!bool maybe", "!!timestamp soon", "!!binary é"]
)
def test_a_value_that_does_not_fit_its_tag_is_refused(tagged: str) -> None:
    assert refusal_of(f"a: {tagged}\n").startswith("f.yaml:1: ")


def test_a_list_as_a_key_is_refused_with_its_line() -> None:
    assert refusal_of("a: 1\n[1, 2]: 3\n").startswith("f.yaml:2: a key must be a word")


def test_merging_what_is_no_mapping_is_refused_with_its_line() -> None:
    assert refusal_of("a: 1\nb:\n  <<: 3\n").startswith("f.yaml:3: '<<' needs a mapping")


def test_words_read_as_booleans_are_noticed_with_their_line() -> None:
    document = parse_yaml('a: yes\nb: [on, OFF]\nc: true\nd: "no"\ne: y\n', "f.yaml")

    assert document.word_booleans == ((("a",), 1, "yes"), (("b", 0), 2, "on"), (("b", 1), 2, "OFF"))


@pytest.mark.parametrize(
    ("key", "where"),
    [
        (("a",), "f.yaml:1"),
        (("a", "b"), "f.yaml:2"),
        (("a", "b", 1), "f.yaml:4"),
        (("a", "b", 7), "f.yaml:2"),
        (("a", "missing"), "f.yaml:1"),
        (("missing",), "f.yaml:1"),
        ((), "f.yaml:1"),
    ],
)
def test_a_key_is_placed_at_the_deepest_part_that_the_file_has(key: tuple[str | int, ...], where: str) -> None:
    assert parse_yaml("a:\n  b:\n    - 1\n    - 2\n", "f.yaml").where(key) == where


def test_a_document_without_lines_is_placed_at_its_path() -> None:
    assert Document("f.yaml", None).where(("a",)) == "f.yaml"


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("a=1", ("a", 1)),
        ("learner.step_size=1e-4", ("learner.step_size", 1e-4)),
        ("a=b=c", ("a", "b=c")),
        ("a=", ("a", "")),
        (" a = 1", ("a", 1)),
        ("a-b=-x", ("a-b", "-x")),
    ],
)
def test_an_override_is_split_at_its_first_equals_sign(text: str, pair: tuple[str, Any]) -> None:
    assert parse_override(text) == pair


@pytest.mark.parametrize("text", ["", "a", "=1", " =1"])
def test_an_override_without_a_key_and_a_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected key=value"):
        parse_override(text)


def test_nested_mappings_become_dotted_names() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": {}, "f.g": 3}) == {"a.b": 1, "a.c.d": [2], "e": {}, "f.g": 3}


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        (1, 1.0),
        (0.0, -0.0),
        (math.nan, math.nan),
        (True, True),
        (None, None),
        ("a", "a"),
        ([1, 2.0], (1.0, 2)),
        ({"a": 1}, {"a": 1.0}),
    ],
)
def test_the_same_setting_is_recognized(asked: Any, got: Any) -> None:
    assert same_value(asked, got)


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        (True, 1),
        (0, False),
        ("1", 1),
        (None, "null"),
        (None, False),
        ([1], [True]),
        ([1], [1, 2]),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, [1]),
        (1, 1.0000001),
    ],
)
def test_different_settings_are_told_apart(asked: Any, got: Any) -> None:
    assert not same_value(asked, got)
