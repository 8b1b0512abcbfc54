"""The config as a page for people: every key, its default, what it is for and what it affects."""

from __future__ import annotations

import json
from typing import Any

from sweepline.contract.values import format_value
from sweepline.training.config.schema import TrainConfig
from sweepline.training.settings import default_of, keys_of, mark_of

_HEAD = """# The config of the trainer

What `train_single.py` reads from its config file, and what `key=value` overrides. Keys are dotted, or levels of a YAML
file. **Affects**: *result*, the numbers of a given step: another value makes another run. *Memory*: only which batch
size is found, and the numbers by that size. *Nothing*: where things are written, and how long it goes on.

Written by `python -m sweepline.training.config`; with `--json` it prints the JSON schema, which editors understand.
"""


def format_page() -> str:
    """Return the page, in Markdown: a table for each section of the config."""
    tables: dict[str, list[str]] = {}
    for name, field in keys_of(TrainConfig):
        section, _, _ = name.rpartition(".")
        default = format_value([] if field.default == () else default_of(field))
        row = f"| `{name}` | `{default}` | {field.description} | {mark_of(field, 'affects')} |\n"
        tables.setdefault(section or "The run", []).append(row)
    parts = [_HEAD]
    for title, rows in tables.items():
        parts += [f"\n## {title}\n\n| key | default | | affects |\n| --- | --- | --- | --- |\n", *rows]
    return "".join(parts)


def format_schema() -> str:
    """Return the JSON schema."""
    schema: dict[str, Any] = TrainConfig.model_json_schema()
    return json.dumps(schema, indent=2) + "\n"
