"""The script of an array, as it is submitted."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import pytest

from sweepline.executors.base import Lack
from sweepline.executors.slurm.arrays import MAX_GROWN, Arrays, Resources
from sweepline.executors.slurm.mailbox import Mailbox, read_task, read_tasks
from sweepline.executors.slurm.options import SlurmOptions
from sweepline.executors.slurm.script import FROM_ENVIRONMENT, format_indexes, format_time, job_name


def arrays_in(folder: Path, **options: object) -> Arrays:
    made = Arrays(Mailbox(folder / "slurm"), "lr sweep", "a1b2c3", SlurmOptions(**options))  # type: ignore[arg-type]
    made.mailbox.make()
    return made


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "beef")
    for name in FROM_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


def script_of(folder: Path, n_runs: int, *, array_size: int = 1001, **options: object) -> str:
    arrays = arrays_in(folder, **options)
    name, _ = arrays.write({f"r{i}": {"run": f"r{i}", "attempt": 1} for i in range(n_runs)}, array_size=array_size)
    return (arrays.mailbox.batches / name / "script.sh").read_text()


def test_the_whole_script(tmp_path: Path) -> None:
    text = script_of(
        tmp_path,
        3,
        directives={"partition": "gpu", "gres": "gpu:1", "exclusive": None, "mail-user": "me too"},
        time_s=5400.0,
        mem_mib=16384,
        setup=["module load cuda", "export A=1"],
        array_parallelism=2,
        margin_s=50.0,
    )
    assert text == (
        "#!/bin/bash\n"
        "#SBATCH --job-name=lr_sweep\n"
        "#SBATCH --comment=sweepline-a1b2c3-000001-beef\n"
        "#SBATCH --array=1-3%2\n"
        f"#SBATCH --output={tmp_path}/slurm_logs/lr_sweep_run_%3a.out\n"
        "#SBATCH --open-mode=append\n"
        "#SBATCH --no-requeue\n"
        "#SBATCH --partition=gpu\n"
        "#SBATCH --gres=gpu:1\n"
        "#SBATCH --exclusive\n"
        '#SBATCH --mail-user="me too"\n'
        "#SBATCH --time=01:30:00\n"
        "#SBATCH --signal=B:USR1@50\n"
        "#SBATCH --mem=16384M\n"
        f": > {tmp_path}/slurm/batches/000001-beef/begun.$SLURM_ARRAY_TASK_ID\n"
        "module load cuda\n"
        "export A=1\n"
        f"exec {sys.executable} -P -m sweepline.executors.slurm.job {tmp_path}/slurm/batches/000001-beef\n"
    )


def test_a_folder_whose_name_sbatch_would_read_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "100%a of it"
    folder.mkdir()
    text = script_of(folder, 1)
    assert f'#SBATCH --output="{tmp_path}/100%%a of it/slurm_logs/lr_sweep_run_%3a.out"' in text
    assert text.endswith(f"'{folder}/slurm/batches/000001-beef'\n")


@pytest.mark.parametrize(
    ("indexes", "text"), [([1], "1"), ([3, 1, 2], "1-3"), ([1, 2, 5, 7, 8, 9], "1-2,5,7-9"), ([0, 10], "0,10")]
)
def test_indexes_are_ranges(indexes: list[int], text: str) -> None:
    assert format_indexes(indexes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.0, "00:01:00"), (61.0, "00:02:00"), (7200.0, "02:00:00"), (86400.0, "1-00:00:00"), (129660.0, "1-12:01:00")],
)
def test_times_are_whole_minutes(seconds: float, text: str) -> None:
    assert format_time(seconds) == text


@pytest.mark.parametrize(("name", "of_jobs"), [("lr", "lr"), ("a b/c", "a_b_c"), ("größe", "größe"), ("a,b", "a_b")])
def test_the_name_of_a_sweep_is_one_word_for_its_jobs(name: str, of_jobs: str) -> None:
    assert job_name(name) == of_jobs


def test_what_the_environment_says_of_all_jobs_stands_in_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SBATCH_ACCOUNT": "lab7", "SBATCH_PARTITION": "long", "SBATCH_TIMELIMIT": "60"}.items():
        monkeypatch.setenv(name, value)
    text = script_of(tmp_path, 1, directives={"partition": "short"})
    assert "--account=lab7\n" in text
    assert "--partition=short\n" in text
    assert "--partition=long" not in text
    assert "--time=60\n" in text
    assert "--signal=B:USR1@50\n" in text


class TestNumbers:
    """Runs are numbered as they are submitted first, and an array's index is the end of the number."""

    def test_numbers_beyond_the_largest_array_have_a_prefix(self, tmp_path: Path) -> None:
        arrays = arrays_in(tmp_path)
        runs = [f"r{i}" for i in range(1, 26)]
        groups = list(arrays.group(runs, array_size=11, most=1000))
        assert [len(group) for group in groups] == [9, 10, 6]  # 1-9, 10-19, 20-25
        name, indexes = arrays.write({run: {"run": run, "attempt": 1} for run in groups[2]}, array_size=11)
        text = (arrays.mailbox.batches / name / "script.sh").read_text()
        assert (list(indexes.values()), "#SBATCH --array=0-5\n" in text) == ([0, 1, 2, 3, 4, 5], True)
        assert "_run_2%1a.out" in text or "_run_2%3a.out" in text

    def test_a_further_attempt_keeps_its_number(self, tmp_path: Path) -> None:
        arrays = arrays_in(tmp_path)
        arrays.write({"a": {"run": "a", "attempt": 1}, "b": {"run": "b", "attempt": 1}}, array_size=1001)
        _, indexes = arrays.write({"a": {"run": "a", "attempt": 2}}, array_size=1001)
        assert indexes == {"a": 1}

    def test_a_later_start_goes_on_counting(self, tmp_path: Path) -> None:
        arrays_in(tmp_path).write({"a": {"run": "a", "attempt": 1}}, array_size=1001)
        later = arrays_in(tmp_path)
        later.load()
        name, indexes = later.write({"b": {"run": "b", "attempt": 1}}, array_size=1001)
        assert (name, indexes) == ("000002-beef", {"b": 2})

    def test_an_array_that_was_cut_off_is_passed_over(self, tmp_path: Path) -> None:
        arrays = arrays_in(tmp_path)
        (arrays.mailbox.batches / "000001").mkdir()
        arrays.load()
        assert arrays.write({"a": {"run": "a", "attempt": 1}}, array_size=1001)[0] == "000002-beef"

    def test_large_arrays_are_split(self, tmp_path: Path) -> None:
        groups = list(arrays_in(tmp_path).group([f"r{i}" for i in range(250)], array_size=1001, most=100))
        assert [len(group) for group in groups] == [100, 100, 50]

    def test_a_task_is_found_among_many(self, tmp_path: Path) -> None:
        arrays = arrays_in(tmp_path)
        name, _ = arrays.write({f"r{i}": {"run": f"r{i}", "attempt": 1} for i in range(30)}, array_size=1001)
        batch = arrays.mailbox.batches / name
        assert read_task(batch, 12)["run"] == "r11"
        assert [task["index"] for task in read_tasks(batch)] == list(range(1, 31))


class TestResources:
    """What a run asks for, and what it gets more of."""

    OPTIONS = SlurmOptions(mem_mib=1000, time_s=600.0, more_memory=2.0, more_time=1.5)

    def test_each_time_more(self) -> None:
        asked = Resources(1000, 600.0)
        for _ in range(2):
            grown = asked.grown(Lack.MEMORY, self.OPTIONS)
            assert grown is not None
            asked = grown
        assert (asked.mem_mib, asked.time_s) == (4000, 600.0)
        longer = asked.grown(Lack.TIME, self.OPTIONS)
        assert longer is not None
        assert longer.time_s == 900.0

    def test_not_for_ever(self) -> None:
        assert Resources(1000, 600.0, n_grown=MAX_GROWN).grown(Lack.MEMORY, self.OPTIONS) is None

    @pytest.mark.parametrize("lack", list(Lack))
    def test_nothing_where_the_file_says_nothing(self, lack: Lack) -> None:
        assert Resources(1000, 600.0).grown(lack, SlurmOptions(mem_mib=1000, time_s=600.0)) is None

    @pytest.mark.parametrize("lack", list(Lack))
    def test_nothing_where_nothing_is_asked_for(self, lack: Lack) -> None:
        assert Resources().grown(lack, self.OPTIONS) is None

    def test_runs_that_ask_for_more_are_an_array_of_their_own(self, tmp_path: Path) -> None:
        arrays = arrays_in(tmp_path, mem_mib=1000, more_memory=2.0)
        arrays.grow("b", Lack.MEMORY)
        assert list(arrays.group(["a", "b", "c"], array_size=1001, most=1000)) == [["a", "c"], ["b"]]
        name, _ = arrays.write({"b": {"run": "b", "attempt": 2}}, array_size=1001)
        assert "--mem=2000M" in (arrays.mailbox.batches / name / "script.sh").read_text()

    def test_a_later_start_knows_how_much_a_run_has_had(self, tmp_path: Path) -> None:
        arrays = arrays_in(tmp_path, mem_mib=1000, more_memory=2.0)
        arrays.grow("b", Lack.MEMORY)
        arrays.write({"b": {"run": "b", "attempt": 2}}, array_size=1001)
        later = arrays_in(tmp_path, mem_mib=1000, more_memory=2.0)
        later.load()
        grown = later.grow("b", Lack.MEMORY)
        assert grown is not None
        assert grown.mem_mib == 4000
