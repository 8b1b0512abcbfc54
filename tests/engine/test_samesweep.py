"""Whether two folders are of the same sweep, told by their plans in words; and where its files are on each machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.config.sweepfile import load_sweep
from sweepline.engine.planfile import build_plan_record
from sweepline.engine.recorded import RecordedSweep
from sweepline.engine.samesweep import check_same, place_of
from sweepline.errors import ConfigError
from sweepline.recording.folders import SweepFolder
from sweepline.space.plan import Plan

SWEEP = """
name: toy
program: train.py
command: ['${interpreter}', '${program}', '${args}']
config: config.yaml
method: grid
metric: {name: loss}
seeds: [0, 1]
parameters: {lr: [1, 2, 3, 4]}
"""


def recorded(place: Path, text: str = SWEEP, *, config: str = "width: 3\n", name: str = "sweep.yaml") -> RecordedSweep:
    """Return a sweep as a start in a project folder would record it."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "train.py").touch()
    (place / "config.yaml").write_text(config)
    path = place / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    settings = load_sweep(path)
    plan = build_plan_record(settings, Plan(settings.whole), old=None, sweep_token="")
    return RecordedSweep(folder=SweepFolder(settings.sweep_dir), plan=plan, settings=None)


def test_layout_comments_and_place_of_a_sweep_file_make_no_other_sweep(tmp_path: Path) -> None:
    check_same(recorded(tmp_path / "a"), recorded(tmp_path / "b", f"# mine\n{SWEEP}max_concurrent: 3\n"))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("name: toy", "name: other", "its name is 'other', not 'toy'"),
        ("[1, 2, 3, 4]", "[1, 2]", r"parameters.lr is Categorical\(values=\(1, 2\)\) there and"),
        ("seeds: [0, 1]", "seeds: [0]", r"seeds is \[0\] there and \[0, 1\] here"),
        ("method: grid", "method: random\nsamples: 3", "method is random there and grid here; limit is 3 there and"),
        ("{name: loss}", "{name: loss, goal: maximize}", "objectives is .*maximize.* there and .*minimize.* here"),
        ("method: grid", "method: grid\nenv: {A: b}", "its program, the command, its arguments or their env are not"),
        ("method: grid", "method: grid\nmetrics: {found: 'x=(.*)'}", "what is read out of a run's output"),
    ],
)
def test_what_makes_another_sweep_is_told(tmp_path: Path, old: str, new: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"is not the same sweep as .*: {reason}"):
        check_same(recorded(tmp_path / "a"), recorded(tmp_path / "b", SWEEP.replace(old, new)))


def test_a_config_file_with_another_content_is_named(tmp_path: Path) -> None:
    text = SWEEP.replace("'${args}'", "'${config}', '${args}'")
    with pytest.raises(ConfigError, match=r"config\.yaml of the program is not the same"):
        check_same(recorded(tmp_path / "a", text), recorded(tmp_path / "b", text, config="width: 4\n"))


def test_a_folder_without_a_plan_is_refused_with_what_mends_it(tmp_path: Path) -> None:
    found = recorded(tmp_path / "a")
    with pytest.raises(ConfigError, match=r"plan\.json is missing or damaged.*sweepline repair"):
        check_same(found, RecordedSweep(folder=found.folder, plan={}, settings=None))


PLACES = [
    ("ada/exp", "bob/trial", "bob/trial/train.py", "ada/exp/train.py"),
    ("ada/exp", "bob/exp", "bob/exp/src/train.py", "ada/exp/src/train.py"),
    ("ada/repo/exp", "bob/repo/exp", "bob/repo/src/train.py", "ada/repo/src/train.py"),
    ("ada/repo/exp", "bob/repo/exp", "bob/other/train.py", "bob/other/train.py"),
]


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("name", ["sweep.yaml", "cfg/sweep.yaml"])
def test_a_file_of_another_machine_is_where_it_lies_here(
    tmp_path: Path, places: tuple[str, str, str, str], name: str
) -> None:
    here, there, path, place = (tmp_path / one for one in places)
    ours, theirs = recorded(here, name=name), recorded(there, name=name)
    assert place_of(ours, theirs)(path) == place
