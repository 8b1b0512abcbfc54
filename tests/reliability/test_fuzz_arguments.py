"""Values reach a program as they were meant, byte for byte and without a shell; and they come back out of the table."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweepline.contract.runfolder import STDOUT
from sweepline.contract.text import printable
from sweepline.contract.values import format_value, parse_value, same_value
from sweepline.executors.base import Exit, Task
from sweepline.executors.local.executor import LocalExecutor
from sweepline.programs.arguments import format_python
from sweepline.recording.columns import FIXED_COLUMNS
from sweepline.recording.events import RunRecord
from sweepline.recording.table import RunTable
from sweepline.runs import State
from tests.conftest import DEADLINE_S, Project
from tests.fakes import recorded
from tests.reliability import SEED, scaled

ECHO = ["import sys", "sys.stdout.buffer.write(open('/proc/self/cmdline', 'rb').read())"]
N_PER_PROCESS = 500
ODD = [
    *[
        "",
        " ",
        "\t",
        "\n",
        "\r\n",
        "\r",
        "\x0b",
        "\x1b[31m",
        "\x7f",
        "\x85",
        "\u2028",
        "\ufeff",
        "\u202e",
        "é",
        "e\u0301",
    ],
    *[
        "-",
        "--",
        "-c",
        "--help",
        "-rf /",
        "--x=1",
        "+x",
        "@file",
        "=",
        "a=b",
        "==",
        "#",
        "%s",
        "%(x)s",
        "{}",
        "{x}",
        "{0}",
    ],
    *["$(touch hacked)", "`touch hacked`", "; touch hacked", "& touch hacked", "| touch hacked", "\ntouch hacked\n"],
    *["$HOME", "${HOME}", "${args}", "${envvar:HOME}", "${seed}", "$$", "!!", "~", "~root", "*", "?", "[a-z]", "{a,b}"],
    *[
        "'",
        '"',
        "''",
        '"; touch hacked; "',
        "'; touch hacked; '",
        "\\",
        "\\\\",
        "\\n",
        "\\'",
        '\\"',
        "a\\",
        "<x",
        ">x",
        "2>&1",
    ],
    *[
        "🔥",
        "👩‍👩‍👧",
        "火",
        "אב",
        "\udc80",
        "\udcff\udce9",
        "a\udc80b",
        "\udcc3\udca9",
        "../../x",
        "/etc/passwd",
        "CON",
        "nul",
    ],
    *[
        "1",
        "1.0",
        "1e3",
        "0x1",
        "1_0",
        "nan",
        "inf",
        "-1",
        "true",
        "True",
        "null",
        "None",
        "yes",
        "[1]",
        "{a: 1}",
        "2024-01-01",
    ],
    *[
        "=1+1",
        "+1",
        "-1+1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "'=1",
        "=cmd|' /C calc'!A0",
        '=HYPERLINK("x")',
        "a,b",
        'a"b',
        "a\nb",
    ],
]


def make_text(rng: random.Random) -> str:
    """Return a text that something between here and there may want to read in its own way."""
    parts = [rng.choice(ODD) for _ in range(rng.choice([1, 1, 2, 4]))]
    parts += [chr(rng.choice([rng.randrange(1, 0x80), rng.randrange(0xA0, 0xD800), rng.randrange(0xE000, 0x110000)]))]
    rng.shuffle(parts)
    return "".join(parts)[: rng.choice([3, 20, 200])]


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor()
    yield executor
    executor.close()


def run_echo(executor: LocalExecutor, tmp_path: Path, values: Sequence[str], **variables: str) -> tuple[Exit, bytes]:
    """Start a process with ``values`` as its arguments; return its end, and the bytes that the kernel gave it."""
    run_dir = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
    run_dir.mkdir()
    argv = [sys.executable, "-I", "-S", "-c", "\n".join(ECHO), *values]
    handle = executor.submit(
        Task(
            run_id="r",
            attempt=1,
            argv=argv,
            environ={**os.environ, **variables},
            working_dir=run_dir,
            run_dir=run_dir,
        )
    )
    while handle.poll() is None:
        executor.wait(DEADLINE_S)
    ended = handle.poll()
    assert ended is not None
    log = run_dir / STDOUT
    printed = log.read_bytes() if log.exists() else b""
    assert {path.name for path in run_dir.iterdir()} <= {STDOUT, "stderr.log", "exit.json", ".exit.json"}
    return ended, printed


def test_arguments_reach_a_program_byte_for_byte(executor: LocalExecutor, tmp_path: Path) -> None:
    rng = random.Random(f"{SEED} arguments")
    values = [*ODD, *(make_text(rng) for _ in range(scaled(10_000)))]
    for start in range(0, len(values), N_PER_PROCESS):
        batch = values[start : start + N_PER_PROCESS]

        ended, printed = run_echo(executor, tmp_path, batch)

        assert ended.exit_code == 0, (ended, batch)
        assert printed.split(b"\0")[5:-1] == [os.fsencode(value) for value in batch]


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=50))
@settings(max_examples=scaled(300), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_arguments_reach_a_program_byte_for_byte(
    executor: LocalExecutor, tmp_path: Path, values: list[str]
) -> None:
    ended, printed = run_echo(executor, tmp_path, values)

    assert ended.exit_code == 0
    assert printed.split(b"\0")[5:-1] == [os.fsencode(value) for value in values]


def test_a_long_argument_arrives_whole(executor: LocalExecutor, tmp_path: Path) -> None:
    value = "'$(x)\n" * 20_000

    ended, printed = run_echo(executor, tmp_path, [value])

    assert (ended.exit_code, printed.split(b"\0")[5]) == (0, value.encode())


@pytest.mark.parametrize(
    ("values", "variables"),
    [
        (["a\0b"], {}),
        (["\0"], {}),
        (["\ud800"], {}),
        (["x" * 200_000], {}),
        (["x" * 100_000] * 60, {}),
        ([], {"NAME": "a\0b"}),
        ([], {"NAME": "\ud800"}),
        ([], {"NA\0ME": "x"}),
        ([], {"": "x"}),
    ],
    ids=["NUL", "only NUL", "half a pair", "too long", "too many", "NUL set", "half a pair set", "NUL name", "no name"],
)
def test_what_no_program_can_be_given_is_refused_with_a_sentence_and_the_keeper_goes_on(
    executor: LocalExecutor, tmp_path: Path, values: list[str], variables: dict[str, str]
) -> None:
    refused, _ = run_echo(executor, tmp_path, values, **variables)
    next_one, printed = run_echo(executor, tmp_path, ["fine"])

    assert refused.not_started
    assert refused.not_started.isprintable()
    assert len(refused.not_started) < 500
    assert (next_one.exit_code, printed.split(b"\0")[5]) == (0, b"fine")


# whole sweeps

WRITE_ARGUMENTS = """
    import os, pathlib, sys
    folder = pathlib.Path(os.environ["SWEEPLINE_RUN_DIR"])
    (folder / "argv").write_bytes(b"\\0".join(os.fsencode(word) for word in sys.argv[1:]))
    print("METRIC loss=1")
"""


def typed_values() -> list[Any]:
    """Return values of every type, each once in the eyes of a sweep."""
    rng = random.Random(f"{SEED} typed")
    texts = [text for text in ODD if text.isprintable() and max(text, default="a") < "\udc80"]
    values: list[Any] = [
        *texts,
        0,
        -1,
        2**70,
        0.5,
        -0.5,
        1e-7,
        1e300,
        True,
        False,
        None,
        [1, "a", None],
        {"a": "$(x)"},
        [],
    ]
    while len(values) < scaled(400):
        text = make_text(rng).encode("utf-8", "ignore").decode()
        values.append(rng.choice([text, rng.gauss(0, 1), rng.randint(-(10**9), 10**9)]))
    return list({repr(value): value for value in values}.values())


def as_yaml(value: Any) -> str:
    """Write a value as any YAML reader takes it: JSON, but no character in two halves."""
    if not isinstance(value, str):
        return json.dumps(value)
    return '"' + "".join(char if char.isalnum() else f"\\U{ord(char):08x}" for char in value) + '"'


@pytest.mark.parametrize("command", [None, ["${interpreter}", "${program}", "--", "${args_no_equals}", "a ${x} b"]])
def test_the_values_of_a_sweep_reach_its_script_byte_for_byte_and_run_nothing(
    project: Project, command: list[str] | None
) -> None:
    values = typed_values()
    project.write("echo.py", WRITE_ARGUMENTS)
    lines = ["program: echo.py", "name: s", "metric: {name: loss}", "devices: cpu", "max_concurrent: 2"]
    lines += [f"command: {json.dumps(command)}"] if command else []
    lines += ["parameters:", "  x:", "    values:", *(f"    - {as_yaml(value)}" for value in values)]
    project.write("sweep.yaml", "\n".join(lines) + "\n")

    result = project.run()

    words = [format_python(value) for value in values]
    wanted = [[f"--x={word}"] if command is None else ["--", "--x", word, f"a {word} b"] for word in words]
    got = [path.read_bytes() for path in project.sweep_dir.glob("runs/*/argv")]
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert sorted(got) == sorted(b"\0".join(map(os.fsencode, argv)) for argv in wanted)
    assert list(project.path.rglob("hacked")) == []


def test_a_value_with_nul_is_a_row_with_a_sentence_and_the_other_runs_go_on(project: Project) -> None:
    project.write("echo.py", WRITE_ARGUMENTS)
    project.write(
        "sweep.yaml",
        """
        program: echo.py
        name: s
        metric: {name: loss}
        devices: cpu
        parameters: {x: ["a\\0b", fine, "b\\0"]}
        """,
    )

    result = project.run("--keep-going")
    rows = project.rows()

    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    assert sorted(rows.state) == ["finished", "spawn_error", "spawn_error"]
    assert all("null byte" in reason for reason in rows.reason.dropna())


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(ODD)
typed = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(typed.filter(lambda value: "\\udc" not in repr(value)))
@settings(max_examples=scaled(10_000), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_value_for_our_trainer_arrives_with_its_type(value: Any) -> None:
    text = format_value(value)
    arrived = parse_value(text)

    assert same_value(value, arrived), f"{value!r} became {arrived!r} through {text!r}"
    assert repr(value) == repr(arrived) if isinstance(value, float) else True
    assert "\n" not in text
    assert "\0" not in text


# the table

N_ROWS_PER_TABLE = 200
GUARDED = ("=", "+", "-", "@", "\t", "\r")


def make_cell(rng: random.Random) -> Any:
    numbers = [
        rng.gauss(0, 1),
        -rng.random(),
        rng.randint(-(10**12), 10**12),
        math.nan,
        math.inf,
        -math.inf,
        -0.0,
        5e-324,
    ]
    return rng.choice([None, True, False, rng.choice(numbers), make_text(rng), make_text(rng), [1, "=x"], {"=a": "\n"}])


def make_record(rng: random.Random, i: int) -> RunRecord:
    params = {rng.choice(["x", "y", "=z", "a,b", 'q"', "state", "é\n"]): make_cell(rng) for _ in range(3)}
    if rng.random() < 0.01:
        params["x"] = make_text(rng) * 300  # longer than a page
    return recorded(
        run_id=f"{i:012x}",
        name=make_text(rng),
        params=params,
        seed=rng.choice([None, 0, 7]),
        state=rng.choice([State.FINISHED, State.FAILED]),
        attempt=1,
        device=rng.choice(["cpu", "=0"]),
        started_at="2026-01-01T00:00:00+00:00",
        duration_s=rng.random() * 100,
        exit_code=rng.choice([None, 0, 1, -9]),
        reason=make_text(rng),
        metrics={rng.choice(["loss", "m/1", "x", "reason"]): rng.gauss(0, 1) for _ in range(2)},
    )


def as_cell(value: Any) -> str:
    """Return what stands in a cell, told without the code under test."""
    if value is None:
        return ""
    if isinstance(value, (bool, int, float)):
        return repr(value)
    text = value if isinstance(value, str) else json.dumps(value)
    text = ("'" if text[:1] in (*GUARDED,) and text else "") + text
    return text.replace("\r", "\\r").replace("\n", "\\n").encode("utf-8", "backslashreplace").decode()


def write_table(path: Path, rng: random.Random) -> tuple[list[str], list[RunRecord]]:
    """Write a table row by row, as a sweep does; return its header and what was written."""
    records = [make_record(rng, i) for i in range(N_ROWS_PER_TABLE)]
    table = RunTable(path, sweep="=sweep", params=["x", "seed"], metrics=["loss"])
    table.open({})
    for record in records:
        table.put(record)
        if rng.random() < 0.5:
            table.flush()
    table.close()
    return table.header, records


@pytest.mark.parametrize("part", range(4))
def test_random_rows_come_back_cell_by_cell_and_no_text_is_a_formula(tmp_path: Path, part: int) -> None:
    for i in range(part, max(4, scaled(20_000) // N_ROWS_PER_TABLE), 4):
        path = tmp_path / f"{i}.csv"
        header, records = write_table(path, random.Random(f"{SEED} table {i}"))

        raw = path.read_bytes()
        top, *rows = csv.reader(io.StringIO(raw.decode(), newline=""), strict=True)

        assert raw.endswith(b"\n")
        assert raw.count(b"\n") == len(records) + 1
        assert b"\r" not in raw
        assert top == [as_cell(name) for name in header]
        assert {len(row) for row in rows} == {len(header)}
        for row, record in zip(rows, records, strict=True):
            check_row(dict(zip(header, row, strict=True)), record)


def check_row(row: dict[str, str], record: RunRecord) -> None:
    leading = {"sweep": "=sweep", "run_id": record.run_id, "run_name": record.name, "reason": printable(record.reason)}
    cells = leading | {
        "device": record.device,
        "exit_code": record.outcome and record.outcome.exit_code,
        "seed": record.seed,
        "gpu_hours": round(record.gpu_s / 3600, 6),
    }
    taken = set(FIXED_COLUMNS)
    told = set(cells)
    for name, value in record.params.items():
        column = f"param.{name}" if name in taken else name
        told.add(column)
        check_parameter(row[column], value)
    for name, value in record.metrics.items():
        cells[f"metric.{name}" if name in taken | {"x"} else name] = value
    for name, value in cells.items():
        assert row[name] == as_cell(value), f"{name} of {record!r}"
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            assert repr(float(row[name])) == repr(float(value))
        else:
            assert not row[name].startswith(GUARDED)
    for name in row.keys() - cells.keys() - told - {"state", "attempt", "started_at", "duration_s", "in_sweep"}:
        assert row[name] == "", f"{name} of {record!r}"


def check_parameter(cell: str, value: Any) -> None:
    """Null is apart from what is not there; text that would be read as something else has an apostrophe before it."""
    if value is None:
        assert cell == "~"
    elif isinstance(value, str):
        marked = as_cell(f"'{value}")
        assert cell in (as_cell(value), marked)
        read = pd.read_csv(io.StringIO(f"x,y\n1,{json.dumps(cell)}\n"), escapechar="\\")["y"][0]
        assert isinstance(read, str), f"{value!r} is read as {read!r}"
    else:
        assert cell == as_cell(value)


def test_pandas_reads_every_row_and_every_number_of_random_tables(tmp_path: Path) -> None:
    for i in range(max(4, scaled(20_000) // N_ROWS_PER_TABLE // 4)):
        path = tmp_path / f"{i}.csv"
        header, records = write_table(path, random.Random(f"{SEED} pandas {i}"))

        numbers = pd.read_csv(path)
        texts = pd.read_csv(path, dtype=str, keep_default_na=False)

        assert list(numbers.columns) == [as_cell(name) for name in header]
        assert list(numbers.run_id.astype(str).str.zfill(12)) == [record.run_id for record in records]
        assert [len(numbers), len(texts)] == [len(records)] * 2
        assert list(texts.reason) == [as_cell(printable(record.reason)) for record in records]
        losses = [record.metrics.get("loss", math.nan) for record in records]
        assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(numbers.loss, losses, strict=True))
