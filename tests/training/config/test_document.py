"""The page of the config is that of the code."""

from __future__ import annotations

import json
from pathlib import Path

from sweepline.training.config.document import format_page, format_schema
from sweepline.training.config.loading import known_keys

PAGE = Path(__file__).parents[3] / "docs" / "training-config.md"


def test_the_page_is_that_of_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == format_page(), (
        "python -m sweepline.training.config > docs/training-config.md"
    )


def test_the_page_holds_every_key() -> None:
    page = format_page()
    assert [name for name in known_keys() if f"| `{name}` |" not in page] == []


def test_the_schema_knows_the_choices_that_registries_give() -> None:
    schema = json.loads(format_schema())
    names = schema["$defs"]["DataConfig"]["properties"]["name"]["anyOf"][0]["enum"]
    assert names == ["mnist", "fashion_mnist", "digits", "poly_teacher", "mlp_teacher", "mnist1m"]
