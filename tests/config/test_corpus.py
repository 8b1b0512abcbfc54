"""Real sweep files of public repositories plan as W&B's own engine plans them, or are refused where it refuses."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from sweepline.config.settings import SweepSettings
from sweepline.config.sweepfile import load_sweep
from sweepline.contract.yamlfile import read_yaml
from sweepline.errors import ConfigError
from sweepline.space.plan import Plan, count_all
from sweepline.space.samplers.base import Tally

Row = Mapping[str, str]

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "corpus" / "wandb-sweeps"
INDEX = CORPUS / "index.csv"
ROWS: list[Row] = list(csv.DictReader(INDEX.read_text().splitlines())) if INDEX.is_file() else []

READ_MORE_LENIENTLY = {"Arnie-He+BLPO__sweep.yaml"}
"""Files that W&B refuses for ``distribution: uniform`` with ``values``, which we read as categorical."""

GRIDS = [row for row in ROWS if row["grid_count"]]
REFUSED = [row for row in ROWS if row["wandb_engine_error"] and row["file"] not in READ_MORE_LENIENTLY]
LENIENT = [row for row in ROWS if row["file"] in READ_MORE_LENIENTLY]
DRAWN = [row for row in ROWS if not row["grid_count"] and not row["wandb_engine_error"]]
N_DRAWS = 3

pytestmark = pytest.mark.skipif(not ROWS, reason="the real sweep files are not beside this checkout")


def name_of(row: Row) -> str:
    return row["file"]


def load(row: Row) -> SweepSettings:
    return load_sweep(CORPUS / row["file"])


def n_draws(settings: SweepSettings) -> int:
    """Return how many of the first three draws there are."""
    return sum(1 for _ in itertools.islice(Plan(settings.space).combinations(Tally()), N_DRAWS))


def n_possible_draws(settings: SweepSettings) -> int:
    """Return three, or the number of combinations where a finite space has fewer."""
    sizes = [N_DRAWS if p.grid is None else len(p.grid) for p in settings.space.parameters.values()]
    return min(N_DRAWS, math.prod(sizes))


def is_right(row: Row) -> bool:
    """Whether a file plans as W&B's engine plans it, or is refused where the engine refuses."""
    try:
        settings = load(row)
    except ConfigError:
        return bool(row["wandb_engine_error"])
    if row["grid_count"]:
        return count_all(Plan(settings.space)).n_kept == int(row["grid_count"])
    return n_draws(settings) == n_possible_draws(settings)


def test_the_index_names_every_file_and_every_file_is_in_one_group() -> None:
    groups = [*GRIDS, *REFUSED, *LENIENT, *DRAWN]

    assert sorted(map(name_of, groups)) == sorted(path.name for path in CORPUS.iterdir() if path != INDEX)


@pytest.mark.parametrize("row", GRIDS, ids=name_of)
def test_a_grid_has_as_many_combinations_as_in_wandb(row: Row) -> None:
    assert count_all(Plan(load(row).space)).n_kept == int(row["grid_count"])


@pytest.mark.parametrize("row", DRAWN, ids=name_of)
def test_a_file_without_a_grid_gives_draws(row: Row) -> None:
    settings = load(row)

    assert n_draws(settings) == n_possible_draws(settings)


@pytest.mark.parametrize("row", DRAWN, ids=name_of)
def test_a_file_without_a_grid_is_no_grid(row: Row) -> None:
    settings = load(row)
    assert settings.space.method == read_yaml(settings.path).value["method"] != "grid"


@pytest.mark.parametrize("row", REFUSED, ids=name_of)
def test_what_wandb_cannot_plan_is_refused_with_line_and_parameter(row: Row) -> None:
    with pytest.raises(ConfigError, match=rf"{row['file'].replace('+', '.')}:\d+: parameters\.\w+"):
        load(row)


@pytest.mark.parametrize("row", LENIENT, ids=name_of)
def test_a_range_with_values_is_read_as_a_list_with_a_warning(row: Row) -> None:
    assert "distribution uniform has values; read as categorical" in "\n".join(load(row).warnings)


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_a_file_reads_the_same_with_other_line_ends(row: Row, tmp_path: Path) -> None:
    text = (CORPUS / row["file"]).read_bytes().replace(b"\r\n", b"\n")
    (tmp_path / "lf.yaml").write_bytes(text)
    (tmp_path / "crlf.yaml").write_bytes(text.replace(b"\n", b"\r\n"))

    assert outcome_of(tmp_path / "crlf.yaml") == outcome_of(tmp_path / "lf.yaml")


def outcome_of(path: Path) -> object:
    """Return what a file reads as: its parameters, or its faults without the file's name."""
    try:
        return dict(load_sweep(path).space.parameters)
    except ConfigError as error:
        return [fault.partition(".yaml")[2] for fault in error.faults]


def test_at_least_96_percent_of_real_files_plan_right() -> None:
    wrong = [row["file"] for row in ROWS if not is_right(row)]

    assert 1 - len(wrong) / len(ROWS) >= 0.96, wrong


def test_every_file_that_wandb_plans_plans() -> None:
    wrong = [row["file"] for row in ROWS if not row["wandb_engine_error"] and not is_right(row)]

    assert wrong == []
