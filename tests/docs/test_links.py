"""Every link between the pages leads somewhere: to a file, and to a heading in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from tools.reference import COMMANDS_PAGE, KEYS_PAGE

from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = sorted([*DOCS.glob("*.md"), REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"])
GENERATED = {DOCS / KEYS_PAGE, DOCS / COMMANDS_PAGE}
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_IMAGE = re.compile(r'(?:src|srcset)="([^"]+)"')
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def links_of(page: Path) -> list[str]:
    """Return what a page links to, what stands in code left out."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    found = _LINK.findall(_CODE.sub("", text)) + _IMAGE.findall(text)
    return [link for link in found if not link.startswith(("http:", "https:", "mailto:"))]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the site and as code hosts make them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    words = [re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in _HEADING.findall(text)]
    return {re.sub(r"[-\s]+", "-", word) for word in words} | {word.replace(" ", "-") for word in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in links_of(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        is_there = target.exists() or target in GENERATED
        if not is_there or (anchor and target not in GENERATED and anchor not in anchors_of(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_pages_of_the_site_link_to_nothing_outside_of_it(page: Path) -> None:
    assert [link for link in links_of(page) if link.startswith(("../", "/"))] == []


def test_every_page_stands_once_in_the_menu_of_the_site() -> None:
    groups = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]
    entries = [entry for group in groups for own in group.values() for entry in own]
    shown = [entry if isinstance(entry, str) else next(iter(entry.values())) for entry in entries]
    assert sorted(shown) == sorted([*(page.name for page in DOCS.glob("*.md")), KEYS_PAGE, COMMANDS_PAGE])
