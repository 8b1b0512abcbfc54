"""Programs that would write the files of several runs into one folder: told before anything starts."""

from __future__ import annotations

import pytest

from sweepline.programs.outputs import find_shared_output


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
