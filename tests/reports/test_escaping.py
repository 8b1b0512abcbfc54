"""Hostile text in pages: a real parser finds no element, no attribute and no script of its own."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepline.reports.escaping import escape_html, json_for_script

PAYLOADS = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</td><img src=x onerror=alert(1)>",
    '" onload="alert(1)',
    "' onmouseover='alert(1)",
    "<!--<script>",
    "]]><svg/onload=alert(1)>",
    "&lt;b&gt;",
    "javascript:alert(1)",
    "\x00<\x01b>",
    "\u2028alert(1)\u2029",
    "\ud800<b>",
    "</SCRIPT >",
    "<\x0cscript>",
]


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.comments: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def shown(text: str) -> str:
    """Return text as a page shows it: control characters and lone surrogates replaced."""
    kept = "".join("\ufffd" if (ord(c) < 32 and c not in "\t\n\r") or ord(c) == 127 else c for c in text)
    return kept.encode("utf-8", "replace").decode()


hostile = st.one_of(st.sampled_from(PAYLOADS), st.text(), st.text(alphabet="<>&\"'/!-=scriptab \x00"))


@given(hostile)
def test_text_stays_the_content_of_its_element(text: str) -> None:
    page = Page(f"<td>{escape_html(text)}</td>")
    assert (page.tags, page.attributes, page.comments, page.text) == (["td"], [], [], shown(text))


@given(hostile)
def test_text_stays_the_value_of_its_attribute(text: str) -> None:
    page = Page(f'<td title="{escape_html(text)}"></td>')
    assert (page.tags, page.attributes) == (["td"], [("title", shown(text))])


@given(st.recursive(hostile | st.floats() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(hostile, inner)))
def test_data_in_a_script_ends_no_script_and_opens_none(value: object) -> None:
    text = json_for_script(value)
    page = Page(f"<script>{text}</script>")
    assert (page.tags, page.text) == (["script"], text)
    assert not set(text) & set("<>&\u2028\u2029")
    json.loads(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_lacks_is_text(value: float) -> None:
    assert json.loads(json_for_script({"loss": [value]})) == {"loss": [repr(value)]}
