"""The pages of the site that are made when it is built: every key of a sweep file, and the help of every command.

A hook of MkDocs (``hooks`` in mkdocs.yml). The pages are not kept, so they cannot be out of date.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sweepline.cli.commands import GROUPS, load
from sweepline.cli.manual import build_parser, new_parser
from sweepline.config.jsonschema import json_schema

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

KEYS_PAGE, COMMANDS_PAGE = "reference/sweep-keys.md", "reference/commands.md"
_PREFIX = "#/$defs/"
_OWN_KEYS, _OWN_HEADING = "OwnKeys", "Keys of sweepline"
_COLUMNS = "98"  # of the help texts


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to those of the folder."""
    from mkdocs.structure.files import File

    for path, text in ((KEYS_PAGE, write_keys(json_schema())), (COMMANDS_PAGE, write_commands())):
        files.append(File.generated(config, path, content=text))
    return files


def write_keys(schema: Mapping[str, Any]) -> str:
    """Return the page of all keys that a sweep file may have, as its JSON schema tells them."""
    definitions: Mapping[str, Any] = schema["$defs"]
    own = definitions[_OWN_KEYS]["properties"]
    of_wandb = {name: value for name, value in schema["properties"].items() if name not in own}
    lines = [
        "# Every key of a sweep file",
        "",
        "Made from the JSON schema that `sweepline schema` prints. What the keys do together is in",
        "[The sweep file](../sweep-file.md); here each stands alone.",
        "",
        "## Keys of W&B's files",
        "",
        *_table(of_wandb),
        "",
        f"## {_OWN_HEADING}",
        "",
        "At the top level, or under `x-sweepline:`, so that the file stays valid for W&B.",
        "",
        *_table(own),
    ]
    for name, definition in definitions.items():
        if name != _OWN_KEYS:
            about = " ".join(definition.get("description", "").replace("``", "`").split())
            table = _table(definition["properties"], required=definition.get("required", ()))
            lines += ["", f"## {_title(name)}", "", about, "", *table]
    return "\n".join(lines) + "\n"


def _title(name: str) -> str:
    """Return what a definition is called: ``StopSweepModel`` is ``stop sweep``."""
    if name == _OWN_KEYS:
        return _OWN_HEADING
    words = name.removesuffix("Model")
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in words).strip()


def _table(properties: Mapping[str, Any], *, required: tuple[str, ...] = ()) -> list[str]:
    rows = ["| key | takes | default | |", "| --- | --- | --- | --- |"]
    for name, value in properties.items():
        default = "required" if name in required else _default(value)
        about = _cell(value.get("description", ""))
        rows.append(f"| `{name}` | {_kind(value)} | {default} | {about} |")
    return rows


def _default(value: Mapping[str, Any]) -> str:
    default = value.get("default")
    is_part = isinstance(default, dict) and default
    return "" if default in (None, [], {}) or is_part else f"`{json.dumps(default, ensure_ascii=False)}`"


def _kind(value: Mapping[str, Any]) -> str:
    """Return in words what a value may be."""
    kinds = dict.fromkeys(kind for kind in _kinds(value) if kind not in ("", "null"))
    return " or ".join(kinds) or "anything"


def _kinds(value: Mapping[str, Any]) -> Iterator[str]:
    for alternatives in ("anyOf", "oneOf", "allOf"):
        for one in value.get(alternatives, ()):
            yield from _kinds(one)
    if "$ref" in value:
        title = _title(value["$ref"].removeprefix(_PREFIX))
        yield f"[{title}](#{title.lower().replace(' ', '-')})"
    elif "enum" in value or "const" in value:
        yield ", ".join(f"`{one}`" for one in value.get("enum", [value.get("const")]))
    elif value.get("type") == "array":
        items = _kind(value["items"]) if value.get("items") else "anything"
        yield f"list of {items}"
    elif "type" in value:
        kinds = value["type"] if isinstance(value["type"], list) else [value["type"]]
        least = f" from {value['minimum']}" if "minimum" in value else ""
        yield from (f"{kind}{least}" for kind in kinds)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("``", "`")


def write_commands() -> str:
    """Return the page with the help of every command."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _COLUMNS
    try:
        lines = ["# Every command", "", "What `sweepline COMMAND --help` prints."]
        for group, names in GROUPS.items():
            lines += ["", f"## {group[0].upper()}{group[1:]}"]
            for name in names:
                command = load(name)
                parser = build_parser(name, command) or new_parser(name, command, usage=command.USAGE)
                lines += ["", f"### {name}", "", "```text", parser.format_help().rstrip(), "```"]
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return "\n".join(lines) + "\n"
