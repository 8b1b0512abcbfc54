"""When a search ends before memory does, and what its probes run."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from sweepline.errors import ConfigError
from sweepline.training.batchsize.child import load_build
from sweepline.training.batchsize.probe import Probe, Setup
from sweepline.training.batchsize.processes import describe_build
from sweepline.training.batchsize.setup import SetupBuilder, TrainerSetup
from sweepline.training.batchsize.tuner import Patience
from sweepline.training.config.loading import load_config
from sweepline.training.datasets.examples import Examples


def probes(*examples_per_s: float) -> list[Probe]:
    return [Probe(64 << i, 3, "ok", step_s=(64 << i) / rate) for i, rate in enumerate(examples_per_s)]


@pytest.mark.parametrize(
    ("rates", "is_enough"),
    [((100, 101), False), ((100, 101, 102), True), ((100, 120, 115), False), ((100, 150, 160, 155), True)],
)
def test_sizes_grow_as_long_as_two_doublings_bring_a_tenth(rates: tuple[float, ...], is_enough: bool) -> None:
    patience = Patience(probes(*rates), 60.0, watches_speed=True)
    assert patience.is_enough(True) is is_enough
    assert patience.said == ("larger ones are no faster" if is_enough else "")


@pytest.mark.parametrize(("is_growing", "watches_speed"), [(False, True), (True, False)])
def test_speed_ends_no_search_between_two_sizes_nor_one_within_a_budget(is_growing: bool, watches_speed: bool) -> None:
    patience = Patience(probes(100, 100, 100), 60.0, watches_speed=watches_speed)
    assert not patience.is_enough(is_growing)


def test_a_search_has_its_time() -> None:
    now = 0.0
    patience = Patience([], 60.0, watches_speed=False, clock=lambda: now)
    assert not patience.is_enough(True)
    now = 61.0
    assert patience.is_enough(False)
    assert patience.said == "tuning_timeout_s 60 is over"


def make_examples(n: int) -> Examples:
    return Examples(torch.zeros((n, 8, 8), dtype=torch.uint8), torch.zeros(n, dtype=torch.int64), 1.0, 0.0, 10)


@pytest.mark.parametrize(("every", "n_measured"), [(0, 0), (7, 1)])
def test_a_probe_measures_the_noise_scale_where_the_run_does(every: int, n_measured: int) -> None:
    config = load_config(None, ["device=cpu", "model.width=2", f"noise_every={every}"])
    setup = TrainerSetup(config, make_examples(8), None)
    setup.step(torch.arange(8))
    assert len(setup.meter.measurements) == n_measured


def build_of_a_module() -> Setup:
    raise AssertionError("only its name is of interest")


def test_a_process_from_nothing_builds_what_was_asked_for() -> None:
    config = load_config(None, ["device=cpu"])
    assert (
        describe_build(SetupBuilder(config, (make_examples(1), None, make_examples(1))), what="it")["config"]["device"]
        == "cpu"
    )
    told = describe_build(build_of_a_module, what="it")
    assert load_build(told["file"], told["module"], told["name"]) is sys.modules[__name__].build_of_a_module


def test_a_script_is_built_from_by_its_file(tmp_path: Path) -> None:
    script = tmp_path / "my script.py"
    script.write_text("def make():\n    return 7\nif __name__ == '__main__':\n    raise SystemExit(3)\n")
    assert load_build(str(script), "__main__", "make")() == 7  # type: ignore[comparison-overlap]


def test_what_no_other_process_can_import_is_refused() -> None:
    class Builder:
        def build(self) -> None: ...

    for build in (lambda: None, Builder().build, partial(build_of_a_module)):
        with pytest.raises(
            ConfigError, match=r"^it must be a function of a module or of a script file, since each size"
        ):
            describe_build(build, what="it")
