"""YAML files as users write them: values with their lines, every fault with its place, nothing too deep or too long.

Knows no keys and no meaning.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml

from sweepline.contract.text import display_path
from sweepline.contract.variables import CODE
from sweepline.errors import ConfigError

MAX_YAML_BYTES = 4 * 2**20
MAX_YAML_DEPTH = 100
MAX_YAML_NODES = 100_000
MAX_SCALAR_SHOWN = 60
MAX_NUMBER_BITS = 4096  # Python prints no integer of more than 4300 digits

_YAML_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = ("null", "bool", "int", "float", "str", "value", "merge")

_TOO_MUCH = "nested, repeated through aliases, or long beyond any reasonable size"

KeyPath = tuple[str | int, ...]

_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ODD_NUMBER = re.compile(r"[-+]?(0[0-7_]*[1-7][0-7_]*|\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?)", re.ASCII)  # octal, sexagesimal


class _Loader(_BaseLoader):  # type: ignore[misc]
    """PyYAML's safe loader with numbers as in YAML 1.2 (``1e-3`` is a float) and dates left as text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _BaseLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$", re.ASCII), list("-+0123456789")
)


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file's value, with the line of every key for messages."""

    path: str
    value: Any
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    duplicates: tuple[tuple[KeyPath, int], ...] = ()
    word_booleans: tuple[tuple[KeyPath, int, str], ...] = ()
    """Where yes, no, on or off stands for a boolean."""
    odd_numbers: tuple[tuple[KeyPath, str, int | float], ...] = ()
    """Where 010, 1:30 or 1e999 stands for another number than most people read."""

    def where(self, key: KeyPath) -> str:
        """Return ``file:line`` of the deepest part of ``key`` that the file has."""
        for length in range(len(key), -1, -1):
            if key[:length] in self.lines:
                return f"{self.path}:{self.lines[key[:length]]}"
        return self.path


def _open(path: Path, label: str) -> IO[bytes]:
    if CODE in os.environ:  # in a run: as the file was when the sweep was started, where it was kept
        return io.open_code(str(path))
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ConfigError(f"{label}: is no plain file")
    return file


def read_yaml(path: Path) -> Document:
    """Read a YAML file, one document, plain data only.

    Raises:
        ConfigError: the file is missing, unreadable, empty of structure, too large or no YAML; says line and column.
    """
    label = display_path(path)
    try:
        with _open(path, label) as file:
            raw = file.read(MAX_YAML_BYTES + 1)
        if len(raw) > MAX_YAML_BYTES:
            raise ConfigError(f"{label}: larger than {MAX_YAML_BYTES // 2**20} MiB; is this the right file?")
    except FileNotFoundError:
        raise ConfigError(f"{label}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{label}: cannot be read: {error.strerror}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(f"{label}:{line}: not UTF-8 (byte {error.start}); save the file as UTF-8") from None
    return parse_yaml(text, label)


def parse_yaml(text: str, label: str) -> Document:
    """Read YAML text; ``label`` stands for the file in messages.

    Raises:
        ConfigError: no YAML, more than one document, or structures that no config needs (tags, alias bombs).
    """
    try:
        _check_size(text, label)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{label}:{mark.line + 1}:{mark.column + 1}" if mark else label
        problem = f"{error.problem or error.context}{_describe_context(error)}{_tab_hint(text, mark)}"
        raise ConfigError(f"{where}: YAML syntax: {problem}") from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ConfigError(f"{label}:{line}: YAML syntax: a control character ({error.character!r})") from None
    except (yaml.YAMLError, RecursionError, UnicodeEncodeError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{label}: YAML syntax: {first_line}") from None
    if node is None:
        return Document(label, None)
    builder = _Builder(label)
    value = builder.build(node, ())
    return Document(
        label, value, builder.lines, tuple(builder.duplicates), tuple(builder.word_booleans), tuple(builder.odd_numbers)
    )


def _check_size(text: str, label: str) -> None:
    """Refuse a text before anything is made of it that its nesting or its length would blow up."""
    depth = n_nodes = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.NodeEvent):
            n_nodes += 1
            depth += isinstance(event, yaml.CollectionStartEvent)
        if depth > MAX_YAML_DEPTH or n_nodes > MAX_YAML_NODES:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise ConfigError(f"{label}:{line}: {_TOO_MUCH}")


def _describe_context(error: yaml.MarkedYAMLError) -> str:
    if not error.context or not error.problem or error.context_mark is None:
        return ""
    return f" ({error.context} that begins in line {error.context_mark.line + 1})"


def _tab_hint(text: str, mark: Any) -> str:
    if mark is None:
        return ""
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    return "; indent with spaces, not tabs" if line[: mark.column + 1].strip(" ").startswith("\t") else ""


class _Builder:
    """Turns a node tree into values, remembering lines and duplicate keys."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.lines: dict[KeyPath, int] = {}
        self.duplicates: list[tuple[KeyPath, int]] = []
        self.word_booleans: list[tuple[KeyPath, int, str]] = []
        self.odd_numbers: list[tuple[KeyPath, str, int | float]] = []
        self._n_nodes = self._depth = 0
        self._constructor = _Loader("")

    def build(self, node: Any, path: KeyPath) -> Any:
        self._depth += 1  # not the path's length: what is merged is built at the path of its user
        value = self._build(node, path)
        self._depth -= 1
        return value

    def _build(self, node: Any, path: KeyPath) -> Any:
        line = node.start_mark.line + 1
        self._n_nodes += 1
        if self._n_nodes > MAX_YAML_NODES or self._depth > MAX_YAML_DEPTH + 1:
            raise ConfigError(f"{self.label}:{line}: {_TOO_MUCH}")
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode):
            return self._build_mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node, ("seq",))
            return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
        if node.tag == "tag:yaml.org,2002:bool" and node.value.lower() not in ("true", "false"):
            self.word_booleans.append((path, line, node.value))
        self._check_tag(node, _SCALAR_TAGS)
        try:
            value = self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError, LookupError, AttributeError):
            raise ConfigError(
                f"{self.label}:{line}: {_cut(node.value)!r} does not fit its tag {_short(node.tag)}"
            ) from None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self._check_number(node, path, value)
        return value

    def _check_number(self, node: Any, path: KeyPath, value: int | float) -> None:
        """Refuse a number that nothing can print, and remember one that is not what it looks like."""
        if isinstance(value, int) and value.bit_length() > MAX_NUMBER_BITS:
            line = node.start_mark.line + 1
            raise ConfigError(f"{self.label}:{line}: {_cut(node.value)!r} is a number beyond any use; quote it as text")
        is_overflow = isinstance(value, float) and math.isinf(value) and "inf" not in node.value.lower()
        if is_overflow or _ODD_NUMBER.fullmatch(node.value):
            self.odd_numbers.append((path, node.value, value))

    def _check_tag(self, node: Any, allowed: tuple[str, ...]) -> None:
        """Refuse tags beyond plain data: Python objects, bytes, dates, anybody's own."""
        if node.tag.removeprefix(_YAML_TAG) not in allowed:
            line = node.start_mark.line + 1
            raise ConfigError(f"{self.label}:{line}: tag {_short(node.tag)} is not plain data; leave it out")

    def _build_mapping(self, node: Any, path: KeyPath) -> dict[Any, Any]:
        self._check_tag(node, ("map",))
        merged: dict[Any, Any] = {}
        own: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for source in reversed(sources):
                    value = self.build(source, path)
                    if not isinstance(value, dict):
                        line = key_node.start_mark.line + 1
                        raise ConfigError(f"{self.label}:{line}: '<<' needs a mapping to merge")
                    merged.update(value)
                continue
            key = self.build(key_node, (*path, "?"))
            if not isinstance(key, (str, int, float, bool, type(None))):
                raise ConfigError(f"{self.label}:{key_node.start_mark.line + 1}: a key must be a word, got {key!r}")
            key_path = (*path, key if isinstance(key, (str, int)) else str(key))
            if key in own:
                self.duplicates.append((key_path, key_node.start_mark.line + 1))
            self.lines[key_path] = key_node.start_mark.line + 1
            own[key] = self.build(value_node, key_path)
        return {**merged, **own}


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SCALAR_SHOWN else text[: MAX_SCALAR_SHOWN - 1] + "…"


def _short(tag: str) -> str:
    return tag.replace(_YAML_TAG, "!!")
