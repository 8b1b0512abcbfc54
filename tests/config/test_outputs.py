"""Programs that would write the files of several runs into one folder: told before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepline.config.outputs import find_folder_named_by_time, find_shared_output
from sweepline.config.sweepfile import load_sweep


@pytest.mark.parametrize(
    ("line", "is_told"),
    [
        ("os.makedirs('exp/' + time.strftime('%Y%m%d-%H%M%S'))", True),
        ('out = f"runs/{datetime.now():%Y}" + now.strftime("%m-%d_%H.%M.%S")', True),
        ("writer = SummaryWriter()", True),
        ("print(time.strftime('%H:%M:%S'), loss)", False),
        ("logging.Formatter('%(asctime)s', '%Y-%m-%d %H:%M:%S')", False),
        ("writer = SummaryWriter(args.logdir)", False),
        ("name = now.strftime('%Y%m%d-%H%M%S-%f')", False),
        ('out = f"{datetime.now():%Y%m%d_%H%M%S}"', True),
        ("out = Path(f'runs/{args.name}-{now:%H%M%S}/logs')", True),
        ('out = f"runs/{int(time.time())}"', True),
        ('out = f"runs/{time.time():.0f}_{args.lr}"', True),
        ("out = os.path.join('runs', str(int(time())))", True),
        ('print(f"{datetime.now():%H:%M:%S}", loss)', False),
        ('print(f"{now:%Y-%m-%d %H:%M:%S}")', False),
        ('print(f"[{now:%H.%M.%S}] loss {loss}")', False),
        ('out = f"{now:%Y%m%d_%H%M%S_%f}"', False),
        ('print(f"took {int(time.time() - begin)}s")', False),
        ('print(f"{int(time.time())} {loss}")', False),
        ("seed = int(time.time())", False),
        ("'%Sales'", True),  # what only looks like one costs a sentence
    ],
)
def test_a_folder_named_by_the_second_is_found_and_a_clock_is_not(line: str, is_told: bool) -> None:
    assert (find_folder_named_by_time(f"import time\n{line}\n".encode()) == 2) is is_told


@pytest.mark.parametrize(("out", "n_told"), [("", 1), ("command: [python, train.py, '--out=${run_dir}']\n", 0)])
def test_it_is_said_once_with_its_line_unless_each_run_is_given_a_folder(tmp_path: Path, out: str, n_told: int) -> None:
    (tmp_path / "train.py").write_text("import time\nfolder = time.strftime('%Y%m%d-%H%M%S')\n")
    (tmp_path / "sweep.yaml").write_text(
        f"program: train.py\nmetric: {{name: loss}}\n{out}parameters: {{lr: [1, 2]}}\n"
    )
    warnings = load_sweep(tmp_path / "sweep.yaml").warnings
    assert (
        sum("train.py:2 seems to name its output folder by the time to the second" in text for text in warnings)
        == n_told
    )


@pytest.mark.parametrize(
    ("items", "better"),
    [
        (["--output_dir=out"], "--output_dir=${run_dir}"),
        (["--output-dir", "out"], "--output-dir ${run_dir}"),
        (["-o", "x", "trainer.default_root_dir=x"], "trainer.default_root_dir=${run_dir}"),
        (["+paths.log_dir=logs"], "+paths.log_dir=${run_dir}"),
        (["--tb_dir=tb"], "--tb_dir=${run_dir}"),
        (["--tensorboard-dir", "tb"], "--tensorboard-dir ${run_dir}"),
        (["--model_dir=best.model"], "--model_dir=${run_dir}"),
        (["--run_dir", "runs/v1.0"], "--run_dir ${run_dir}"),
        (["--output", "v1.0"], "--output ${run_dir}"),
        (["--save_path=../out"], "--save_path=${run_dir}"),
        (["--output", "data.csv"], None),
        (["--save_path", "ckpt/m.pt"], None),
        (["out=model.tar.gz"], None),
        (["--run_dirs=x"], None),
    ],
)
def test_a_folder_for_all_is_told_with_what_to_write_instead(items: list[str], better: str | None) -> None:
    found = find_shared_output(items, {})
    assert (found and found[1].rpartition("; ")[2]) == (better and f"{better} gives each its own")


@pytest.mark.parametrize(
    ("constants", "is_told"),
    [({"model_dir": "m"}, True), ({"save_path": "m.pt"}, False), ({"save_path": "m"}, True), ({"out": 3}, False)],
)
def test_a_folder_for_all_may_be_a_parameter(constants: dict[str, object], is_told: bool) -> None:
    name, value = next(iter(constants.items()))
    written = f"({name}: {value}) and overwrite each other's files; {name}: ${{run_dir}} gives each its own"
    found = find_shared_output([], constants)
    assert (found is not None and found[0] == name and written in found[1]) is is_told
