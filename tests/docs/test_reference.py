"""The pages that are made when the site is built."""

from __future__ import annotations

import re

import pytest
from tools.reference import write_commands, write_keys

from sweepline.cli.commands import COMMANDS
from sweepline.config.jsonschema import json_schema


@pytest.fixture(scope="module")
def keys() -> str:
    return write_keys(json_schema())


def test_every_key_of_the_schema_is_in_the_reference(keys: str) -> None:
    schema = json_schema()
    of_parts = [name for part in schema["$defs"].values() for name in part["properties"]]
    assert set(re.findall(r"^\| `([^`]+)` \|", keys, re.MULTILINE)) == {*schema["properties"], *of_parts}


def test_a_row_says_what_a_key_takes_its_default_and_what_it_is_for(keys: str) -> None:
    row = '| `start` | `auto`, `warm`, `cold` | `"auto"` | warm: fork runs of a Python program from one process'
    assert row in keys
    assert "| `race` | [race](#race) or integer from 2 |" in keys


def test_every_link_within_the_reference_leads_to_a_heading(keys: str) -> None:
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", keys, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", keys)) <= headings


def test_the_reference_of_commands_has_the_help_of_each_in_its_order() -> None:
    assert tuple(re.findall(r"^### (.+)$", write_commands(), re.MULTILINE)) == COMMANDS


def test_every_key_in_the_reference_says_what_it_is_for(keys: str) -> None:
    rows = [line for line in keys.splitlines() if line.startswith("| `")]
    assert [row for row in rows if row.endswith("|  |")] == []
