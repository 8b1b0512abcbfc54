"""Values in the grammar of Hydra's command line: as exact words, and against Hydra itself where it is installed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepline.errors import ConfigError
from sweepline.programs.hydra import format_hydra, format_override


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (None, "null"),
        (True, "true"),
        (-0.0, "-0.0"),
        (1e-05, "1e-05"),
        (math.inf, "inf"),
        ("null", "'null'"),
        ("True", "'True'"),
        ("007", "'007'"),
        ("3e563", "'3e563'"),
        ("NaN", "'NaN'"),
        ("", "''"),
        ("adam", "adam"),
        ("data/mnist.pt", "data/mnist.pt"),
        ("a,b", "'a,b'"),
        ("größe", "'größe'"),
        ("it's", r"'it\'s'"),
        ("a\\", r"'a\\'"),
        (r"a\'b", r"'a\\\'b'"),
        (r"a\b", r"'a\b'"),
        ("${x}", r"'\${x}'"),
        (r"\${x}", r"'\\\${x}'"),
        ({"a": 1, "b c": [True, "x,y"]}, r"{a:1,b\ c:[true,'x,y']}"),
        ([], "[]"),
        ({}, "{}"),
    ],
)
def test_a_value_has_hydra_s_spelling(value: Any, word: str) -> None:
    assert format_hydra(value) == word


@pytest.mark.parametrize(
    "value", ["???", ["???"], {"1": 2}, {"größe": 1}, {"true": 1}, {None: 1}, {"": 1}, {"${a}": 1}]
)
def test_what_the_grammar_cannot_write_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="Hydra"):
        format_hydra(value)


@pytest.mark.parametrize("key", ["lr", "opt.lr", "a.0.b", "db/engine", "db@pkg.x", "$x", "batch-size", "_"])
def test_a_key_of_the_grammar_is_taken(key: str) -> None:
    assert format_override("++", key, 1) == f"++{key}=1"


@pytest.mark.parametrize("key", ["a b", "1x", "größe", "a=b", "", "+++x", "~x", "a..b", "a:b", "opt/lr.x"])
def test_a_key_outside_the_grammar_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="cannot write the key"):
        format_override("+", key, 1)


TEXT = st.text(max_size=8) | st.lists(
    st.sampled_from([*"ab=,#&'\"\\${}[]():~+ \t\n", "${", "null", "1e5", "007", "???", "é", "${oc.env:HOME}"]),
    max_size=6,
).map("".join)
SCALARS = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | TEXT
KEYS = st.integers(-5, 5) | st.booleans() | st.sampled_from(["a", "b-c", "a.b", "k v", "x:y", "1", "é"]) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


def exact(value: Any) -> Any:
    """Return a value in a form that is equal for the same values of the same types alone."""
    if isinstance(value, dict):
        return [(exact(key), exact(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [exact(item) for item in value]
    return (type(value).__name__, repr(value))


@given(value=VALUES)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_hydra_reads_back_what_was_written(value: Any) -> None:
    parsing = pytest.importorskip("hydra.core.override_parser.overrides_parser", reason="needs hydra-core")
    loading = pytest.importorskip("hydra._internal.config_loader_impl", reason="needs hydra-core")
    omegaconf = pytest.importorskip("omegaconf", reason="needs hydra-core")
    try:
        word = format_override("+", "k", value)
    except ConfigError:
        return
    overrides = parsing.OverridesParser.create().parse_overrides([word])
    config = omegaconf.OmegaConf.create({})
    loading.ConfigLoaderImpl._apply_overrides_to_config(overrides, config)

    assert exact(omegaconf.OmegaConf.to_container(config, resolve=True)["k"]) == exact(value)


@pytest.mark.parametrize(
    ("prefix", "key", "word"), [("", "+a.b", "+a.b=1"), ("", "++a", "++a=1"), ("++", "+a", "+a=1"), ("+", "a", "+a=1")]
)
def test_a_key_may_say_itself_that_it_is_added(prefix: str, key: str, word: str) -> None:
    assert format_override(prefix, key, 1) == word
