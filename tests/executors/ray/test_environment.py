"""Which variables a run on a node of Ray has: the sweep's, the node's, and those of neither."""

from __future__ import annotations

from sweepline.executors.ray.environment import build_environment


def build(sent: dict[str, str], node: dict[str, str], *, has_devices: bool = True, is_shared: bool = True) -> object:
    return build_environment(sent, node, has_devices=has_devices, is_shared=is_shared)


def test_what_the_sweep_sends_is_there_and_what_the_node_has_besides_is_not() -> None:
    assert build({"KEY": "mine", "LR": "1"}, {"KEY": "node's", "PYTHONBREAKPOINT": "ray"}) == {"KEY": "mine", "LR": "1"}


def test_devices_are_those_that_ray_has_given() -> None:
    assert build({"CUDA_VISIBLE_DEVICES": "7"}, {"CUDA_VISIBLE_DEVICES": "0,2"}) == {"CUDA_VISIBLE_DEVICES": "0,2"}


def test_devices_of_the_machine_of_the_sweep_are_never_those_of_a_node() -> None:
    assert build({"HIP_VISIBLE_DEVICES": "7"}, {}) == {}


def test_a_run_that_asks_for_no_device_sees_none() -> None:
    found = build({"CUDA_VISIBLE_DEVICES": "7"}, {"CUDA_VISIBLE_DEVICES": "0,1"}, has_devices=False)
    assert found == {"CUDA_VISIBLE_DEVICES": ""}


def test_variables_of_ray_are_left_out() -> None:
    assert build({"RAY_ADDRESS": "auto"}, {"RAY_JOB_ID": "01"}) == {}


def test_programs_are_looked_for_where_the_sweep_does_and_then_where_the_node_does() -> None:
    assert build({"PATH": "/env/bin:/usr/bin"}, {"PATH": "/opt/cuda/bin:/usr/bin"}) == {
        "PATH": "/env/bin:/usr/bin:/opt/cuda/bin"
    }


def test_homes_are_those_of_the_sweep_where_the_folder_is_shared() -> None:
    assert build({"HOME": "/home/me"}, {"HOME": "/root", "TMPDIR": "/scratch"}) == {
        "HOME": "/home/me",
        "TMPDIR": "/scratch",
    }


def test_homes_are_those_of_the_node_where_it_is_not_and_code_is_read_from_its_files() -> None:
    sent = {"HOME": "/home/me", "SWEEPLINE_CODE": "/sweep/code.json"}
    assert build(sent, {"HOME": "/root"}, is_shared=False) == {"HOME": "/root"}
