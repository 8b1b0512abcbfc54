"""METRIC lines: what is read, what is refused, and that neither chunks nor hostile bytes change the result."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepline.contract.metrics import PLACES, MetricPoint, format_history, format_metric_line, parse_metric_line
from sweepline.engine.metricreader import MAX_LINE_BYTES, MetricReader

LOSS_PATTERN = {"loss": re.compile(r"loss=(\S+)")}


def read(*chunks: str | bytes, patterns: Mapping[str, re.Pattern[str]] | None = None) -> MetricReader:
    """Return a reader that took the chunks and the end of the output."""
    reader = MetricReader(patterns)
    for chunk in chunks:
        reader.feed(chunk.encode() if isinstance(chunk, str) else chunk)
    reader.close()
    return reader


def result_of(reader: MetricReader) -> str:
    """Return everything a reader found, as text in which nan equals nan."""
    points = [(dict(point.values), dict(point.place)) for point in reader.points]
    return repr((points, reader.latest, reader.n_bad_lines, reader.bad_lines, reader.n_dropped_names))


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("METRIC loss=0.5", {"loss": 0.5}),
        ("METRIC loss=0.5 acc=0.9", {"loss": 0.5, "acc": 0.9}),
        ("  METRIC\tloss=0.5 \t acc=1  ", {"loss": 0.5, "acc": 1.0}),
        ("METRIC val/loss.mean-1=2", {"val/loss.mean-1": 2.0}),
        ("METRIC _a=+1", {"_a": 1.0}),
        ("METRIC a=-1e-5 b=1E+3", {"a": -1e-5, "b": 1000.0}),
        ("METRIC a=.5 b=5.", {"a": 0.5, "b": 5.0}),
        ("METRIC a=inf b=-inf c=Infinity", {"a": math.inf, "b": -math.inf, "c": math.inf}),
        ("METRIC a=1 a=2", {"a": 2.0}),
    ],
)
def test_a_metric_line_is_read(line: str, values: dict[str, float]) -> None:
    assert read(line).latest == values


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan"])
def test_nan_is_a_value(text: str) -> None:
    assert math.isnan(read(f"METRIC loss={text}\n").latest["loss"])


def test_epoch_step_and_samples_place_the_line() -> None:
    (point,) = read("METRIC epoch=3 loss=0.5 step=40 samples=5000\n").points

    assert point == MetricPoint({"loss": 0.5}, {"epoch": 3, "step": 40, "samples": 5000})


def test_a_line_of_places_alone_is_no_point() -> None:
    assert read("METRIC epoch=3\n").points == []


def test_an_impossible_place_does_not_cost_the_metric() -> None:
    (point,) = read("METRIC epoch=nan step=inf loss=0.5\n").points

    assert point == MetricPoint({"loss": 0.5}, {})


def test_the_last_place_told_is_where_the_run_stands() -> None:
    assert read("METRIC epoch=1 loss=1\nMETRIC epoch=2 loss=1\nMETRIC test=3\n").place == {"epoch": 2}


@pytest.mark.parametrize(
    "output",
    [
        " 50%|#####     | 5/10\rMETRIC loss=0.5\n",
        " 50%|#####     | 5/10\r\nMETRIC loss=0.5\r\n",
        "100%|##########| 10/10 METRIC loss=0.5\n",
        "100%|METRIC loss=0.5\n",
        "\x1b[32mMETRIC loss=0.5\x1b[0m\n",
        "\x1b[1mMETRIC\x1b[0m \x1b[38;5;12mloss\x1b[0m=0.5\n",
        "\x1b[2K\rMETRIC loss=0.5\n",
        "\x1b]0;title\x07METRIC loss=0.5\n",
        "\xff\xfeé METRIC loss=0.5\n",
        "METRIC loss=0.5",
    ],
    ids=[
        *[
            "after a bar",
            "CRLF",
            "on the line of a bar",
            "touching a bar",
            "coloured",
            "coloured inside",
            "erased line",
        ],
        *["window title", "after other letters", "no line end"],
    ],
)
def test_a_metric_line_is_found_in_what_terminals_get(output: str) -> None:
    assert read(output).latest == {"loss": 0.5}


@pytest.mark.parametrize(
    "line",
    ["loss=0.5", "metric loss=0.5", "METRICS loss=0.5", "METRIC_X loss=0.5", "the METRIC system", "METRICS: 3", ""],
)
def test_a_line_of_something_else_is_passed_over(line: str) -> None:
    assert (parse_metric_line(line), read(line).n_bad_lines) == (None, 0)


BAD_LINES = [
    "METRIC",
    "METRIC loss",
    "METRIC loss=",
    "METRIC loss=abc",
    "METRIC loss = 1",
    "METRIC loss=1%",
    "METRIC loss=1_0",
    "METRIC loss=１",
    "METRIC loss=0x1",
    "METRIC loss=1e",
    "METRIC loss=--1",
    "METRIC loss=1.2.3",
    "METRIC 1loss=1",
    "METRIC é=1",
    "METRIC =1",
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_counted_and_kept(line: str) -> None:
    reader = read(f"{line}\nMETRIC good=1\n")

    assert (reader.n_bad_lines, reader.bad_lines, reader.latest) == (1, [line], {"good": 1.0})


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("doneMETRIC loss=0.5", {"loss": 0.5}),
        ("ETA 12sMETRIC epoch=1 loss=0.5", {"loss": 0.5}),
        ("loss: 0.9123METRIC epoch=1 loss=0.5", {"loss": 0.5}),
        ("INFO:root:METRIC loss=0.5", {"loss": 0.5}),
        ("2026-01-01 00:00:00.000 | INFO     | __main__:main:3 - METRIC loss=0.5 acc=1", {"loss": 0.5, "acc": 1.0}),
        ("METRIC a=1METRIC b=2", {"a": 1.0, "b": 2.0}),
        ("METRIC a=1 METRIC a=2", {"a": 2.0}),
        ("METRIC epoch=0 a=0.5METRIC epoch=0 a=0.25METRIC epoch=1 b=1e-3", {"a": 0.25, "b": 0.001}),
        ("METRIC a=infMETRIC b=2", {"a": math.inf, "b": 2.0}),
        ("METRIC a=1, b=2; c=3", {"a": 1.0, "b": 2.0, "c": 3.0}),
        ("INFO METRIC a=0.5,b=1", {"a": 0.5, "b": 1.0}),
    ],
)
def test_a_metric_is_read_whatever_stands_before_it_on_its_line(line: str, values: dict[str, float]) -> None:
    reader = read(f"{line}\n")

    assert (reader.latest, reader.n_bad_lines) == (values, 0)


@pytest.mark.parametrize(
    ("line", "values", "kept"),
    [
        ("METRIC loss=0.3 acc@1=0.9", {"loss": 0.3}, "METRIC loss=0.3 acc@1=0.9"),
        ("METRIC acc=95% loss=0.3", {"loss": 0.3}, "METRIC acc=95% loss=0.3"),
        ("METRIC loss=0,5 acc=1", {"acc": 1.0}, "METRIC loss=0,5 acc=1"),
        ("METRIC loss=0.5          train.py:12", {"loss": 0.5}, "METRIC loss=0.5          train.py:12"),
        ("METRIC a=METRIC b=2", {"b": 2.0}, "METRIC a="),
        ("METRIC a=1e-METRIC b=2", {"b": 2.0}, "METRIC a=1e-"),
        ("INFO METRIC loss = 0.5", {}, "METRIC loss = 0.5"),
        ("INFO METRIC loss: 0.5", {}, "METRIC loss: 0.5"),
        ("INFO METRIC: loss: nan", {}, "METRIC: loss: nan"),
        ("INFO METRIC loss 0.5", {}, "METRIC loss 0.5"),
        ("INFO METRIC {'loss': 0.5}", {}, "METRIC {'loss': 0.5}"),
        ("INFO METRIC val loss=0.3", {}, "METRIC val loss=0.3"),
        ("INFO METRIC val/loss@1=0.5", {}, "METRIC val/loss@1=0.5"),
        ("INFO METRIC accuracy [%]: 95", {}, "METRIC accuracy [%]: 95"),
        ("INFO METRIC loss: tensor(0.5)", {}, "METRIC loss: tensor(0.5)"),
        ("12sMETRIC loss: 0.5 METRIC acc=1", {"acc": 1.0}, "METRIC loss: 0.5 "),
        ("the METRIC is loss=0.5 here", {}, "METRIC is loss=0.5 here"),
        ("MY_METRIC loss=0.5", {}, "_METRIC loss=0.5"),
    ],
)
def test_what_is_not_understood_is_counted_and_costs_no_other_pair(
    line: str, values: dict[str, float], kept: str
) -> None:
    reader = read(f"{line}\n")

    assert (reader.latest, reader.n_bad_lines, reader.bad_lines) == (values, 1, [kept])


@pytest.mark.parametrize(
    "line",
    [
        '    print(f"METRIC loss={loss}")',
        'log.info("METRIC loss=%s", loss)',
        'log.info("METRIC loss: %.3f", loss)',
        'log.info(f"epoch METRIC loss: {loss:.3f} {1}")',
        'log.info("epoch METRIC loss %.3f", 0.5)',
        "print('METRIC ' + name + ': ' + str(0.5))",
        "print('done METRIC loss: ' + str(0.5))",
    ],
)
def test_the_source_of_a_metric_line_is_no_metric_line(line: str) -> None:
    assert (read(f"{line}\n").latest, read(f"{line}\n").n_bad_lines) == ({}, 0)


@pytest.mark.parametrize("line", ["METRIC: loss=1", "METRIC\u00a0loss=1"])
def test_a_line_that_begins_with_metric_and_no_space_is_no_silence(line: str) -> None:
    assert read(f"{line}\n").n_bad_lines == 1


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_raises_only_where_one_line_is_parsed(line: str) -> None:
    with pytest.raises(ValueError, match=r"^METRIC"):
        parse_metric_line(line)


def test_many_bad_lines_are_counted_but_not_all_kept() -> None:
    reader = read("METRIC x\n" * 1000)

    assert (reader.n_bad_lines, len(reader.bad_lines)) == (1000, 3)


def test_a_long_bad_line_is_kept_in_short() -> None:
    assert len(read("METRIC " + "x" * 10_000 + "\n").bad_lines[0]) == 200


def test_a_line_longer_than_the_limit_costs_only_itself() -> None:
    assert read(b"x" * (3 * MAX_LINE_BYTES), b"y\nMETRIC loss=0.5\n").latest == {"loss": 0.5}


def test_what_stands_beyond_the_limit_of_a_line_is_not_read() -> None:
    assert read(b"x" * MAX_LINE_BYTES + b" METRIC loss=0.5\n").latest == {}


@pytest.mark.parametrize("start", [b"METRIC ", b"METRIC a=1 "])
def test_a_number_cut_by_the_limit_is_not_read_as_a_smaller_one(start: bytes) -> None:
    line = start + b" " * (MAX_LINE_BYTES - len(start) - len(b"loss=123")) + b"loss=123456\n"

    assert "loss" not in read(line).latest


@pytest.mark.parametrize("cut", [1, 5, 1000, MAX_LINE_BYTES])
def test_a_metric_beyond_the_limit_of_a_line_is_counted_however_it_is_cut(cut: int) -> None:
    output = b"." * (MAX_LINE_BYTES - 3) + b"METRIC loss=0.5\nMETRIC acc=1\n"

    reader = read(*(output[start : start + cut] for start in range(0, len(output), cut)))

    assert (reader.latest, reader.n_bad_lines) == ({"acc": 1.0}, 1)


def test_output_without_any_line_end_is_held_only_up_to_the_limit() -> None:
    reader = MetricReader()

    for _ in range(100):
        reader.feed(b"x" * MAX_LINE_BYTES)

    assert len(reader._partial) <= MAX_LINE_BYTES


def test_names_beyond_500_are_left_out_and_counted() -> None:
    reader = read("METRIC " + " ".join(f"m{i}={i}" for i in range(503)) + "\n")

    assert (len(reader.latest), reader.n_dropped_names) == (500, 3)


def test_a_name_left_out_again_and_again_counts_once() -> None:
    line = "METRIC " + " ".join(f"m{i}={i}" for i in range(501)) + "\n"

    assert read(line, line, line).n_dropped_names == 1


def test_known_names_go_on_when_the_500_are_full() -> None:
    many = "METRIC " + " ".join(f"m{i}=0" for i in range(500)) + "\n"

    assert read(many, "METRIC m7=1 fresh=1\n").latest["m7"] == 1.0


def test_reserved_names_are_never_left_out_nor_thinned_away() -> None:
    reader = MetricReader(reserved=["loss"])
    for i in range(500):
        reader.feed(("METRIC " + " ".join(f"m{k}={i}" for k in range(501)) + f" loss={i}\n").encode())

    assert (reader.latest["loss"], reader.n_dropped_names, reader.history.stride > 1) == (499.0, 2, True)
    assert [point.values["loss"] for point in reader.points] == list(range(500))


@pytest.mark.parametrize(
    ("kind", "values", "result"),
    [
        ("max", (0.5, 0.9, 0.6), 0.9),
        ("min", (0.5, 0.4, 0.6), 0.4),
        ("max", (math.nan, 0.5, math.nan), 0.5),
        ("min", (0.5, -math.inf, 1), -math.inf),
        ("last", (0.5, 0.9, 0.6), 0.6),
    ],
)
def test_a_summary_tells_which_value_is_the_result(kind: str, values: Sequence[float], result: float) -> None:
    reader = MetricReader(summaries={"acc": ("acc", kind), f"acc.{kind}": ("acc", kind)})
    for value in values:
        reader.feed(f"METRIC acc={value}\n".encode())

    assert reader.results == {"acc": result, f"acc.{kind}": result}
    assert len(reader.points) == len(values)


def test_a_run_of_nan_alone_has_nan_for_its_best_value() -> None:
    reader = MetricReader(summaries={"acc": ("acc", "max")})
    reader.feed(b"METRIC acc=nan\nMETRIC acc=nan\n")

    assert math.isnan(reader.results["acc"])


FRAGMENTS = [
    *[b"METRIC loss=0.5", b"METRIC epoch=2 acc=1 step=3", b"METRIC nan=nan", b"METRIC bad", b"METRIC", b" loss=7 "],
    *[b"\n", b"\r", b"\r\n", b"\n\n", b" 50%|###  | ", b"\x1b[32m", b"\x1b", b"[0m", "é火".encode(), b"\xff", b"\0"],
    *[b"x" * (MAX_LINE_BYTES - 3), b"1", b"=", b" ", b"M"],
]
OUTPUTS = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=5), max_size=15).map(b"".join)


@given(OUTPUTS, st.lists(st.integers(0, 2**18), max_size=8))
@settings(max_examples=250, deadline=None, derandomize=True)
def test_the_result_does_not_depend_on_how_the_output_is_cut(output: bytes, cuts: Sequence[int]) -> None:
    edges = sorted({0, len(output), *(cut % (len(output) + 1) for cut in cuts)})
    chunks = [output[start:end] for start, end in pairwise(edges)]

    assert result_of(read(*chunks, patterns=LOSS_PATTERN)) == result_of(read(output, patterns=LOSS_PATTERN))


def test_the_result_is_the_same_byte_by_byte() -> None:
    output = " 50%|##\rMETRIC epoch=1 löss=2\r\n\x1b[1mMETRIC loss=0.5\x1b[0m\nMETRIC acc=9".encode()

    assert result_of(read(*(bytes([byte]) for byte in output))) == result_of(read(output))


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_no_bytes_raise(output: bytes) -> None:
    read(output, b"METRIC " + output, patterns=LOSS_PATTERN)


@given(
    st.dictionaries(
        st.from_regex(re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*", re.ASCII), fullmatch=True).filter(
            lambda name: name not in PLACES
        ),
        st.floats(),
        min_size=1,
        max_size=6,
    ),
    st.dictionaries(st.sampled_from(PLACES), st.integers(0, 2**50)),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_written_line_is_read_back_to_the_last_digit(values: dict[str, float], place: dict[str, int]) -> None:
    point = parse_metric_line(format_metric_line(values, **place))

    assert repr(point) == repr(MetricPoint(values, {name: place[name] for name in place}))


class SinglePrecision(float):
    """A float that shows its type, as those of array libraries do."""

    def __repr__(self) -> str:
        return f"float32({float(self)})"


def test_a_float_that_shows_its_type_is_written_as_a_plain_number() -> None:
    assert format_metric_line({"loss": SinglePrecision(0.5)}) == "METRIC loss=0.5"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("Accuracy: 9812/10000 (98%)", 9812.0),
        ("\x1b[32mAccuracy: 5/\x1b[0m", 5.0),
        ("Accuracy: 1/2 Accuracy: 3/4", 3.0),
    ],
)
def test_a_pattern_reads_the_output_of_other_scripts(line: str, value: float) -> None:
    patterns = {"accuracy": re.compile(r"Accuracy: (\d+)/")}

    assert read(f"epoch 1\n{line}\n", patterns=patterns).latest == {"accuracy": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5", 0.5), ("1,234.5", 1234.5), ("-3e-2", -0.03), ("-inf", -math.inf), (".5", 0.5), ("Infinity", math.inf)],
)
def test_a_pattern_reads_the_numbers_that_a_metric_line_has(text: str, value: float) -> None:
    assert read(f"loss={text}\n", patterns=LOSS_PATTERN).latest == {"loss": value}


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan"])
def test_a_pattern_reads_nan_in_any_case(text: str) -> None:
    assert math.isnan(read(f"loss={text}\n", patterns=LOSS_PATTERN).latest["loss"])


@pytest.mark.parametrize("text", ["1_0", "1１", "1.2.3", "10%", "abc"])
def test_a_pattern_takes_nothing_that_is_no_number(text: str) -> None:
    assert read(f"loss={text}\n", patterns=LOSS_PATTERN).latest == {}


@pytest.mark.parametrize("text", ["1.2.3", "10%"])
def test_what_a_pattern_cannot_read_is_counted_and_kept(text: str) -> None:
    reader = read(f"loss={text}\n", patterns=LOSS_PATTERN)

    assert (reader.n_bad_lines, len(reader.bad_lines)) == (1, 1)


DIGITS, WORD = r"Score: ([\d.]+)", r"Score: (\S+)"


@pytest.mark.parametrize(
    ("pattern", "text", "value"),
    [
        (DIGITS, "Score: 7.5e-05", 7.5e-05),
        (DIGITS, "Score: 1e3", 1000.0),
        (DIGITS, "Score: 1E+3 (best)", 1000.0),
        (r"Score: (\d+)", "Score: 0.9532", 0.9532),
        (r"Score: (\d+)", "Score: 1,234.5", 1234.5),
        (r"Score.*(\d+\.\d+)", "Score is 12.34", 12.34),
        (r"Score: \D*([\d.]+)", "Score: -0.5", -0.5),
        (r"Score: \D*([\d.]+)", "Score: \u22120.5", -0.5),
        (WORD, "Score: \u22120.5", -0.5),
        (DIGITS, "Score: -0.5", -0.5),
        (DIGITS, "Score: \u22127.5e-05", -7.5e-05),
        (DIGITS, "Score: 0.5 Score: -0.6", -0.6),
        (r"^([\d.]+)$", "-3", -3.0),
        (r"^(\d+)", "1 200 0.5", 1.0),
        (r"^(\d+) ", "3 100", 3.0),
        (r"Epoch (\d+)", "Epoch 3 120/938", 3.0),
        (DIGITS, "Score: 97.4 100", 97.4),
        (WORD, "Score: 1,234,567", 1234567.0),
        (WORD, "Score: 0.5, better", 0.5),
        (DIGITS, "Score: 95%", 95.0),
        (DIGITS, "Score: 12.5s", 12.5),
        (DIGITS, "Score: 0.5.", 0.5),
        (r"loss: -([\d.]+)", "loss: -0.5", 0.5),
        (r"epoch-(\d+)", "epoch-12", 12.0),
        (r"x(-\d+)", "x-12", -12.0),
        (r"^\d+,([\d.]+),", "12,0.5,0.9", 0.5),
        (r"^(\d+),", "12,13", 12.0),
        (r"(\d+)/\d+", "9886/10000", 9886.0),
        (r"at (\d+):", "at 12:30", 12.0),
    ],
)
def test_a_number_of_which_a_pattern_takes_a_part_is_read_whole(pattern: str, text: str, value: float) -> None:
    reader = read(f"{text}\n", patterns={"score": re.compile(pattern)})

    assert (reader.latest, reader.n_bad_lines) == ({"score": value}, 0)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (DIGITS, "Score: 0,9532"),
        (WORD, "Score: 0,9532"),
        (DIGITS, "Score: 1.2.3"),
        (DIGITS, "Score: 1_000"),
        (DIGITS, "Score: 1'000"),
        (DIGITS, "Score: 0x1f"),
        (DIGITS, "Score: 1 234"),
        (DIGITS, "Score: 1 234 567.5"),
        (DIGITS, "Score: 1e5e5"),
        (DIGITS, "Score: 1e5_0"),
        (DIGITS, "Score: 1e"),
        (DIGITS, "Score: None"),
        (DIGITS, "Score: null"),
        (DIGITS, "Score: <nan>"),
        (DIGITS, "Score: tensor(nan)"),
        (DIGITS, "Score: np.float64(0.5)"),
        (r"(?i)score: ([\d.]+)", "Score: None"),
        (r"(?:best|Score): ([\d.]+)", "Score: [0.5]"),
        (r"Score(?:: |_lr)([\d.]+)", "Score_lr-0.5"),
        (r"Score: (0\.\d+)", "Score: 1.0"),
        (WORD, "Score: 1234,5"),
    ],
)
def test_a_number_in_doubt_is_counted_and_never_shortened(pattern: str, text: str) -> None:
    reader = read(f"Score: 0.9\n{text}\n", patterns={"score": re.compile(pattern)})

    assert (reader.latest, reader.n_bad_lines, reader.bad_lines) == ({"score": 0.9}, 1, [text])


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan", "1.#IND", "-1.#IND00", "1.#QNAN"])
def test_a_run_that_diverged_does_not_keep_its_last_finite_value(text: str) -> None:
    reader = read(f"Score: 0.9\nScore: {text}\n", patterns={"score": re.compile(DIGITS)})

    assert math.isnan(reader.latest["score"])


@pytest.mark.parametrize("line", ["Score: 0.5 Score: nan", "Score: 0.5 | Score: -nan |", "Score: nan Score: nan"])
def test_a_nan_counts_beside_numbers_on_its_line(line: str) -> None:
    assert math.isnan(read(f"{line}\n", patterns={"score": re.compile(DIGITS)}).latest["score"])


def test_of_a_nan_and_a_number_on_a_line_the_last_counts() -> None:
    assert read("Score: nan Score: 0.5\n", patterns={"score": re.compile(DIGITS)}).latest == {"score": 0.5}


@pytest.mark.parametrize(("text", "value"), [("inf", math.inf), ("-inf", -math.inf), ("1.#INF", math.inf)])
def test_an_infinite_number_is_read_where_the_pattern_wants_digits(text: str, value: float) -> None:
    patterns = {"score": re.compile(DIGITS + " %")}

    assert read(f"Score: 0.9\nScore: {text} %\n", patterns=patterns).latest == {"score": value}


@pytest.mark.parametrize("text", ["Score: info", "Score: none yet", "no Score: yet", "best 0.95"])
def test_words_where_a_pattern_wants_a_number_are_no_number(text: str) -> None:
    reader = read(f"Score: 0.9\n{text}\n", patterns={"score": re.compile(DIGITS)})

    assert (reader.latest, reader.n_bad_lines) == ({"score": 0.9}, 0)


@pytest.mark.parametrize("source", [r"(?:loss|Score): ([\d.]+)", r"(?i)score: ([\d.]+)", r"[(\]] Score: (?P<x>[^)%]+)"])
def test_any_expression_with_one_group_is_taken(source: str) -> None:
    assert read("] Score: 5\n", patterns={"score": re.compile(source)}).latest == {"score": 5.0}


def test_an_optional_group_that_is_absent_gives_no_metric() -> None:
    assert read("loss: none\n", patterns={"loss": re.compile(r"loss: (\d+)?")}).points == []


def test_all_patterns_of_one_line_make_one_point() -> None:
    patterns = {"loss": re.compile(r"loss (\S+)"), "acc": re.compile(r"acc (\S+)")}

    assert read("loss 0.5 acc 0.9\n", patterns=patterns).points == [MetricPoint({"loss": 0.5, "acc": 0.9})]


def test_points_of_a_history_stand_in_one_table(tmp_path: Path) -> None:
    points = [MetricPoint({"loss": 0.5}, {"epoch": 1}), MetricPoint({"acc": math.nan}, {"epoch": 2, "step": 7})]

    (tmp_path / "metrics.csv").write_text(format_history(points))

    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["epoch,step,loss,acc", "1,,0.5,", "2,7,,nan"]
