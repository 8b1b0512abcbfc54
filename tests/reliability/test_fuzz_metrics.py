"""Whatever bytes a run prints, the reader of METRIC lines takes them, however they are cut, and reads nothing wrong."""

from __future__ import annotations

import math
import random
import re
import string
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweepline.contract.metrics import PLACES, MetricPoint, format_metric_line, parse_metric_line
from sweepline.engine.metricreader import MAX_LINE_BYTES, MAX_METRICS, MetricReader
from tests.conftest import Project
from tests.reliability import SEED, scaled

N_PARTS = 4  # a test each, so that workers share them
PATTERNS = {"loss": re.compile(r"loss[:=] *(\S+)")}
NUMBERS = [
    *["0", "-0.0", "1", "+1.5", ".5", "5.", "1e-3", "1E+300", "1e999", "-1e999", "nan", "NaN", "inf", "-Infinity"],
    *["1_0", "0x1", "１２", "٣", "", "a=b=c", "--1", "1e", "e1", ".", "1.2.3", "nano", "infinit", "1j", "True", "None"],
]
NAMES = [
    *["loss", "val/loss", "a.b-c", "_", "x1", "epoch", "step", "samples", "Loss", "METRIC"],
    *["1x", "", "löss", "火", "a b", "-a", "n" * 50_000],
]
NAME_CHARACTERS = string.ascii_letters + string.digits + "_./-"
PIECES = [
    *[b"METRIC", b"METRIC ", b"METRIC\t", b"metric ", b"METRICS ", b" METRIC loss=", b"METRI", b"C", b"=", b" ", b"\t"],
    *[b"\n", b"\n", b"\n", b"\r", b"\r\n", b"\n\r", b"\x0b", b"\x0c", b"\x1c", b"\x85", "\u2028".encode()],
    *[b"\x1b[32m", b"\x1b[0m", b"\x1b[2K", b"\x1b]0;title\x07", b"\x1b]", b"\x1b", b"[1;31", b"\x1bM"],
    *[b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc3", b"\xa9", b"\xf0\x9f", b"\x94\xa5", b"\xed\xa0\x80", b"\x80"],
    *[" 50%|█████     | 5/10 [00:01<00:01,  4.9it/s]".encode(), b" 7%|#  | 1/9\r", b"loss: 0.5", b"x" * 300],
]


def read(chunks: Sequence[bytes]) -> MetricReader:
    reader = MetricReader(PATTERNS)
    for chunk in chunks:
        reader.feed(chunk)
    reader.close()
    return reader


def result_of(reader: MetricReader) -> str:
    """Return all that a reader tells, as text: in which nan is equal to itself."""
    return repr(
        (
            reader.latest,
            reader.points,
            reader.place,
            reader.n_bad_lines,
            reader.bad_lines,
            reader.n_dropped_names,
            reader.fault,
        )
    )


def cut(output: bytes, rng: random.Random) -> list[bytes]:
    """Return an output in pieces of random sizes, some of them empty."""
    n_cuts = min(rng.choice([1, 3, 20]), len(output))
    edges = sorted([0, len(output), *(rng.randint(0, len(output)) for _ in range(n_cuts))])
    return [output[start:end] for start, end in pairwise(edges)]


def pair(rng: random.Random) -> bytes:
    name = rng.choice(NAMES) if rng.random() < 0.5 else rng.choice(NAMES[:7])
    if len(name) > 1000 and rng.random() < 0.95:  # long names cost time
        name = name[:20]
    return f"{name}={rng.choice(NUMBERS) if rng.random() < 0.6 else repr(rng.gauss(0, 10))}".encode()


def metric_line(rng: random.Random) -> bytes:
    return b"METRIC " + b" ".join(pair(rng) for _ in range(rng.randint(1, 4)))


def mutate(output: bytes, rng: random.Random) -> bytes:
    """Return an output with some of its bytes changed, lost, doubled or moved."""
    data = bytearray(output)
    for _ in range(rng.choice([0, 0, 1, 4])):
        at = rng.randint(0, len(data))
        kind = rng.randrange(4)
        if kind == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del data[at : at + rng.randint(1, 8)]
        elif kind == 2:
            data[at:at] = data[at : at + rng.randint(1, 30)]
        else:
            data[at:at] = rng.choice(PIECES)
    return bytes(data)


def make_output(rng: random.Random) -> bytes:
    """Return what a run may print: METRIC lines among bars, colours and garbage."""
    parts: list[bytes] = []
    for _ in range(rng.randint(1, 6)):
        parts.append(rng.choice([metric_line(rng), rng.choice(PIECES), rng.randbytes(rng.randint(0, 12))]))
        if rng.random() < 0.6:
            parts.append(rng.choice([b"\n", b"\r\n", b"\r"]))
    if rng.random() < 0.002:  # a line about as long as the limit
        parts.insert(rng.randint(0, len(parts)), b"x" * (MAX_LINE_BYTES - rng.randint(0, 40)))
    return mutate(b"".join(parts), rng)


@pytest.mark.parametrize("part", range(N_PARTS))
def test_mutated_output_never_raises_and_reads_the_same_however_it_is_cut(part: int) -> None:
    for i in range(part, scaled(100_000), N_PARTS):
        rng = random.Random(f"{SEED} metrics {i}")
        output = make_output(rng)
        chunks = cut(output, rng)

        whole, in_pieces = result_of(read([output])), result_of(read(chunks))

        assert in_pieces == whole, f"example {i} of seed {SEED}, cut at {[len(chunk) for chunk in chunks]}"


@given(st.lists(st.binary(max_size=80) | st.sampled_from(PIECES), max_size=12).map(b"".join), st.integers(0, 2**32))
@settings(max_examples=scaled(5_000), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_bytes_never_raise_and_read_the_same_however_they_are_cut(output: bytes, cuts: int) -> None:
    assert result_of(read(cut(output, random.Random(cuts)))) == result_of(read([output]))


# what is a bad line, told without a regular expression


def is_number(text: str) -> bool:
    """Whether a text is a number as C, JSON and Python agree on: ASCII, no underscore, no other base."""
    word = text.lstrip("+-").lower()
    if len(text) - len(word) > 1:
        return False
    if word in ("nan", "inf", "infinity"):
        return True
    try:
        float(word)
    except ValueError:
        return False
    return all(char in "0123456789.e+-" for char in word)


def is_name(text: str) -> bool:
    return text != "" and text[0] in string.ascii_letters + "_" and all(char in NAME_CHARACTERS for char in text)


def judge(line: str) -> tuple[dict[str, float], bool]:
    """Return the numbers of a line that begins with METRIC, and whether all of it is understood."""
    words = line.removeprefix("METRIC").replace("\t", " ").split(" ")
    found, is_whole = {}, not words[0] and any(words)
    for word in filter(None, words):
        name, _, number = word.partition("=")
        if is_name(name) and is_number(number):
            found[name] = float(number)
        else:
            is_whole = False
    return found, is_whole


def lines_to_judge(rng: random.Random) -> Iterator[str]:
    for _ in range(rng.randint(1, 5)):
        pairs = [pair(rng).decode() for _ in range(rng.randint(0, 3))]
        yield "METRIC" + rng.choice([" ", " ", "\t", "  "]) + rng.choice([" ", "\t "]).join(pairs)


def test_every_line_that_is_not_understood_is_counted_and_every_number_is_read_exactly() -> None:
    for i in range(scaled(20_000)):
        rng = random.Random(f"{SEED} bad lines {i}")
        lines = [line.rstrip() for line in lines_to_judge(rng)]
        judged = [judge(line) for line in lines]
        values: dict[str, float] = {}
        for found, _ in judged:
            values.update({name: number for name, number in found.items() if name not in PLACES})

        reader = MetricReader()
        reader.feed("\n".join(lines).encode())
        reader.close()

        assert reader.n_bad_lines == sum(not is_whole for _, is_whole in judged), f"{lines!r}"
        assert repr(reader.latest) == repr(values), f"{lines!r}"


def any_float(rng: random.Random) -> float:
    """Return a float of any bits: subnormal, huge, nan and infinite ones too."""
    return rng.choice([struct.unpack("<d", rng.randbytes(8))[0], rng.gauss(0, 1), float(rng.randint(-9, 9)), -0.0])


def test_what_is_written_is_what_is_read() -> None:
    for i in range(scaled(100_000)):
        rng = random.Random(f"{SEED} round trip {i}")
        names = ["_" + "".join(rng.choices(NAME_CHARACTERS, k=rng.randint(0, 9))) for _ in range(rng.randint(1, 5))]
        values = {name: any_float(rng) for name in names}
        place = {name: rng.randint(0, 2**53) for name in rng.sample(PLACES, rng.randint(0, 3))}

        point = parse_metric_line(format_metric_line(values, **place))

        assert repr(point) == repr(MetricPoint(values, place)), f"{values!r}"


# long lines


def bar(length: int) -> bytes:
    return b"#" * (length - 1) + b" "


@pytest.mark.parametrize(
    "begin",
    [
        lambda tail: bar(MAX_LINE_BYTES - len(tail)) + tail,
        lambda tail: b"\x1b[32m" + tail + b"0" * (MAX_LINE_BYTES - len(tail) - 5),
        lambda tail: "\ufeff".encode() + bar(MAX_LINE_BYTES - len(tail) - 3) + tail,
        lambda tail: b" " * (MAX_LINE_BYTES - len(tail)) + tail,
    ],
    ids=["after a bar", "in colour", "after a BOM and a bar", "after spaces"],
)
def test_a_number_that_the_limit_of_a_line_cuts_is_never_read_as_another_number(
    begin: Callable[[bytes], bytes],
) -> None:
    output = begin(b"METRIC loss=1") + b"2345\nMETRIC other=1\n"

    in_one, in_two = MetricReader(), MetricReader()
    in_one.feed(output)
    for start in range(0, len(output), 1000):
        in_two.feed(output[start : start + 1000])

    assert in_one.latest == in_two.latest == {"other": 1.0}


@pytest.mark.parametrize(
    "unit",
    [
        b"METRIC ",
        b"METRIC a=1 ",
        b"a",
        b"1",
        b"a=",
        b"a=1 ",
        b"\x1b",
        b"\x1b[",
        b"\x1b]",
        b"\x1b[0 ",
        b" ",
        b"\t",
        b"=",
    ],
    ids=repr,
)
def test_a_line_of_one_thing_over_and_over_is_read_in_no_more_than_linear_time(unit: bytes) -> None:
    line = b"METRIC a=" + unit * (MAX_LINE_BYTES // len(unit))
    output = b"\n".join([line, b"x " + line, line + b"!"]) * 3 + b"\nMETRIC last=1\n"

    reader = read([output])  # a quadratic expression would take minutes, which is longer than any test may

    assert reader.latest["last"] == 1.0


# very many names


def test_ten_thousand_names_on_lines_of_their_own_leave_the_first_five_hundred() -> None:
    reader = read([f"METRIC name_{i}={i}\n".encode() for i in range(10_000)])

    assert list(reader.latest.items()) == [(f"name_{i}", float(i)) for i in range(MAX_METRICS)]
    assert reader.n_dropped_names == 10_000 - MAX_METRICS


def test_names_that_never_end_are_counted_up_to_a_bound() -> None:
    reader = MetricReader()
    for i in range(scaled(300_000)):
        reader.add(MetricPoint({f"name_{i}": 1.0}))

    assert len(reader.latest) == MAX_METRICS
    assert reader.n_dropped_names <= 10_000


def test_a_run_with_ten_thousand_names_makes_no_more_than_five_hundred_columns(project: Project) -> None:
    project.write("names.py", "for i in range(10_000): print(f'METRIC name_{i}={i}')")
    project.write(
        "sweep.yaml",
        "program: names.py\nname: s\nmetric: {name: name_0}\nparameters: {x: [1]}\ndevices: cpu\n",
    )

    result = project.run()
    (row,) = project.rows().to_dict("records")

    assert result.returncode == 0, result.stderr
    assert sum(str(name).startswith("name_") for name in row) == MAX_METRICS
    assert "9500 metrics beyond the first 500 left out" in row["reason"]
    assert not any(isinstance(value, float) and math.isnan(value) for name, value in row.items() if "name_" in name)


def test_runs_whose_names_are_all_their_own_make_no_more_than_five_hundred_columns(project: Project) -> None:
    project.write(
        "names.py",
        """
        import sys
        x = sys.argv[1].partition("=")[2]
        print("METRIC loss=1", *(f"name_{x}_{i}={i}" for i in range(100)))
        """,
    )
    project.write(
        "sweep.yaml",
        """
        program: names.py
        name: s
        metric: {name: loss}
        parameters: {x: [1, 2, 3, 4, 5, 6, 7, 8]}
        devices: cpu
        max_concurrent: 2
        """,
    )

    result = project.run()
    rows = project.rows()

    assert result.returncode == 0, result.stderr
    assert set(rows.loss) == {1.0}
    assert sum(name.startswith("name_") for name in rows.columns) <= MAX_METRICS
