"""Rules of early stopping, against tables that were worked out by hand."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sweepline.config.earlystopping import RULES, read_early_stopping
from sweepline.config.faults import Faults
from sweepline.contract.metrics import MetricPoint
from sweepline.contract.yamlfile import Document
from sweepline.engine.pruning.pruner import Pruner, describe_verdict, read_verdict
from sweepline.engine.pruning.rules import describe_rule
from sweepline.runs import Objective

LOSS, ACCURACY = Objective(name="loss"), Objective(name="loss", goal="maximize")


def rules(*raw: Mapping[str, Any]) -> tuple[Any, ...]:
    faults = Faults(Document("sweep.yaml", {}))
    found = read_early_stopping([*raw], faults)
    assert (faults.errors, faults.warnings) == ([], [])
    return found


def decide(
    courses: Sequence[Sequence[float]],
    *raw: Mapping[str, Any],
    objective: Objective = LOSS,
    n_first: int | None = None,
) -> dict[int, int]:
    """Let runs tell their values in turn, one each; return after how many points which of them is stopped."""
    pruner = Pruner(rules(*raw), objective, n_first=n_first)
    stopped: dict[int, int] = {}
    for i in range(max(map(len, courses))):
        for number, values in enumerate(courses):
            if number not in stopped and i < len(values):
                point = MetricPoint({"loss": values[i]}, {"epoch": i + 1, "step": 10 * (i + 1)})
                if pruner.note(f"run {number}", [point]) is not None:
                    stopped[number] = i + 1
    return stopped


BAND = {"type": "hyperband", "min_iter": 2}
"""Bands at 2, 6, 18 ... points. Of n runs at a band the value at place int(n / 3), from 0 on, is the threshold."""
SIX = [[9, 1], [9, 2], [9, 3], [9, 4], [9, 5], [9, 6]]


@pytest.mark.parametrize(
    ("courses", "options", "expected"),
    [
        # When run k tells its second value, n = k + 1 are there: thresholds 1, 1, 2, 2, 2, 3 for n = 1 .. 6.
        (SIX, {}, {1: 2, 2: 2, 3: 2, 4: 2, 5: 2}),
        # The other way round each is the best so far, and at place int(n / 3) stands no better one.
        (SIX[::-1], {}, {}),
        ([[9, 1], [9, 1], [9, 1], [9, 2]], {}, {3: 2}),  # equal ones go on
        ([[9, 5], [1, 9]], {}, {}),  # strict: false, the best so far counts: 5 and 1; the second is the best
        ([[9, 5], [1, 9]], {"strict": True}, {1: 2}),  # the value at the band: 5 and 9
        ([[9, 1], [9, 2]], {"eta": 1.5}, {}),  # place int(2 / 1.5) = 1: the second of two
        ([[9, 1], [9, math.nan], [8, math.inf]], {"strict": True}, {1: 2}),  # 1, inf, inf: the last two are equal
        # Between two bands the lower one decides, again at every point, with those that came there meanwhile.
        ([[9, 8, 7], [9, 1], [9, 1], [9, 1]], {}, {0: 3}),
    ],
)
def test_hyperband_decides_as_the_table_says(
    courses: list[list[float]], options: dict[str, Any], expected: dict[int, int]
) -> None:
    assert decide(courses, BAND | options) == expected


def test_hyperband_of_a_maximum_is_the_same_turned_round() -> None:
    turned = [[-value for value in course] for course in SIX]
    assert decide(turned, BAND, objective=ACCURACY) == decide(SIX, BAND)


@pytest.mark.parametrize(
    ("options", "bands"),
    [
        ({"min_iter": 3}, "3, 9, 27, 81, 243 ..."),
        ({"min_iter": 2, "eta": 1.5}, "2, 3, 4, 6, 10 ..."),
        ({"max_iter": 27, "s": 2}, "3, 9"),
        ({"max_iter": 100, "s": 3, "eta": 4}, "1, 6, 25"),
    ],
)
def test_bands_are_those_of_wandb(options: dict[str, Any], bands: str) -> None:
    (rule,) = rules({"type": "hyperband", **options})
    assert f"hyperband at {bands} points" in describe_rule(rule)


def test_a_last_band_has_no_more_after_it() -> None:
    courses = [[1.0] * 12, [2.0] * 12]
    assert decide(courses, {"type": "hyperband", "max_iter": 9, "s": 1}) == {1: 3}


@pytest.mark.parametrize(
    ("courses", "options", "expected"),
    [
        # Rung 1: up to five runs there the best goes on, of six the best two.
        ([[1], [2], [3], [4], [5], [0]], {}, {1: 1, 2: 1, 3: 1, 4: 1}),
        ([[2], [3], [4], [5], [6], [2.5]], {}, {1: 1, 2: 1, 3: 1, 4: 1}),
        ([[2], [3], [4], [5], [6], [3.5]], {}, {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}),
        ([[1, 1], [2, 2], [0, 0]], {"min": 2}, {1: 2}),
        ([[3], [2], [1]], {}, {}),
        ([[1], [2]], {"factor": 2}, {1: 1}),
        ([[1, 9], [2, 9], [3, 9]], {"by": "steps", "min": 20}, {}),  # equal at 20 steps, the second point
        ([[1, 7], [2, 8], [3, 9]], {"by": "epochs", "min": 2}, {1: 2, 2: 2}),
    ],
)
def test_asha_lets_the_best_share_go_on(
    courses: list[list[float]], options: dict[str, Any], expected: dict[int, int]
) -> None:
    assert decide(courses, {"type": "asha", **options}) == expected


@pytest.mark.parametrize(
    ("courses", "options", "expected"),
    [
        # Of n runs at a rung int(n / 3) go on in all: nobody of the first two, of three the third if it is the best.
        ([[1], [2], [3]], {}, {0: 1, 1: 1, 2: 1}),
        ([[3], [2], [1]], {}, {0: 1, 1: 1}),
        ([[3], [2], [1], [0], [-1], [-2]], {}, {0: 1, 1: 1, 3: 1, 4: 1}),  # each is the best so far, two go on
        ([[3], [2], [1], [9], [9], [1.5]], {}, {0: 1, 1: 1, 3: 1, 4: 1}),  # 1.5 is the second of six
        ([[2], [1]], {"factor": 2}, {0: 1}),
        ([[9, 3], [9, 2], [9, 1]], {"min": 20, "by": "steps"}, {0: 2, 1: 2}),
        # From rung 3 on nobody is judged where a whole run is 8 points; with three more a rung at 3 would be left.
        ([[3] * 8, [2] * 8, [1] * 8], {"max": 8}, {0: 1, 1: 1}),
    ],
)
def test_of_those_that_come_to_a_rung_a_share_goes_on_in_all(
    courses: list[list[float]], options: dict[str, Any], expected: dict[int, int]
) -> None:
    assert decide(courses, {"type": "asha", **options}, n_first=0) == expected


def test_the_first_one_goes_on_where_no_run_can_later() -> None:
    assert decide([[5], [1], [2], [3], [4], [0]], {"type": "asha"}, n_first=1) == {1: 1, 2: 1, 3: 1, 4: 1}


class TestShares:
    """Runs that are compared where they have come equally far of their own way."""

    def pruner(self, **rule: Any) -> Pruner:
        return Pruner(rules({"type": "asha", "min": 0.1, "by": "share", **rule}), LOSS)

    def tell(self, pruner: Pruner, run_id: str, values: Sequence[float], params: Mapping[str, Any] = {}) -> int | None:
        """Let a run tell values, one an epoch; return after how many it is stopped."""
        pruner.begin(run_id, params)
        for i, value in enumerate(values, 1):
            if pruner.note(run_id, [MetricPoint({"loss": value}, {"epoch": i})]) is not None:
                return i
        return None

    def test_a_parameter_says_how_far_each_run_goes(self) -> None:
        pruner = self.pruner()
        assert self.tell(pruner, "short", [5.0] * 10, {"epochs": 10}) is None
        # A tenth and three tenths of 20 epochs are 2 and 6; the value there counts.
        assert self.tell(pruner, "long", [9, 4, 9, 9, 9, 6, 1], {"epochs": 20}) == 6
        assert self.tell(pruner, "best", [9, 3, 9, 9, 9, 4, 1], {"epochs": 20}) is None

    def test_a_whole_run_is_not_stopped_after_its_end(self) -> None:
        pruner = self.pruner()
        for number, value in enumerate((1.0, 2.0, 3.0, 4.0)):
            at = self.tell(pruner, f"run {number}", [value] * 3, {"epochs": 3})
            assert at in (None, 1)
        (rule,) = rules({"type": "asha", "by": "share", "min": 0.1})
        assert describe_rule(rule) == "asha at 0.1, 0.3 share: the best 1/3 go on"

    def test_it_may_have_another_name_or_be_a_number(self) -> None:
        for rule, params in (({"total": "n"}, {"n": 10, "epochs": 999}), ({"total": 10}, {})):
            pruner = self.pruner(**rule)
            assert self.tell(pruner, "first", [1.0] * 10, params) is None
            assert self.tell(pruner, "second", [2.0] * 10, params) == 1

    def test_without_any_runs_are_judged_once_one_has_gone_to_its_end(self) -> None:
        pruner = self.pruner()
        assert self.tell(pruner, "first", [1.0] * 30) is None
        assert self.tell(pruner, "second", [2.0] * 30) is None
        pruner.end("first")
        assert self.tell(pruner, "third", [3.0] * 30) == 3


class TestPromoting:
    """Runs that were stopped at a rung and may go on."""

    def halving(self, *values: float) -> Pruner:
        """Return a pruner at whose first rung runs had these values, one after the other."""
        pruner = Pruner(rules({"type": "asha", "by": "epochs"}), LOSS, n_first=0)
        for number, value in enumerate(values):
            pruner.note(f"run {number}", [MetricPoint({"loss": value}, {"epoch": 1})])
        return pruner

    def test_the_best_that_waits_goes_on_once_there_is_room(self) -> None:
        assert self.halving(1, 2).promote(lambda _: True) is None
        pruner = self.halving(1, 2, 3)
        assert pruner.promote(lambda _: True) == "run 0"
        assert pruner.promote(lambda _: True) is None
        for number in (3, 4, 5):
            pruner.note(f"run {number}", [MetricPoint({"loss": 9.0}, {"epoch": 1})])
        assert pruner.promote(lambda _: True) == "run 1"

    @pytest.mark.parametrize("seed", range(5))
    def test_27_runs_by_3_cost_81_epochs_instead_of_729(self, seed: int) -> None:
        """27 epochs to the first rung, 9 times 2 to the second, 3 times 6 to the third, 18 for one to its end."""
        values = random.Random(seed).sample(range(100), 27)
        pruner = Pruner(rules({"type": "asha", "by": "epochs", "max": 27}), LOSS, n_first=0)
        told: dict[str, list[MetricPoint]] = {f"run {number}": [] for number in range(27)}
        new, finished = list(told), []
        while (run_id := pruner.promote(lambda _: True) or (new.pop(0) if new else None)) is not None:
            pruner.begin(run_id, {}, [told[run_id]])
            for epoch in range(len(told[run_id]) + 1, 28):
                told[run_id].append(MetricPoint({"loss": values[int(run_id[4:])]}, {"epoch": epoch}))
                if pruner.note(run_id, told[run_id][-1:]) is not None:
                    break
            finished += [run_id] * (len(told[run_id]) == 27)
        assert sum(map(len, told.values())) == 81
        assert len(finished) == 1
        assert values[int(finished[0][4:])] <= sorted(values)[8]

    def test_a_run_that_goes_on_stands_for_what_it_had_until_it_tells_more(self) -> None:
        pruner = self.halving(1, 2, 3, 4, 5, 6)
        for number in range(2):
            assert pruner.promote(lambda _: True) == f"run {number}"
            pruner.begin(f"run {number}", {}, [[MetricPoint({"loss": number + 1.0}, {"epoch": 1})]])
        assert pruner.promote(lambda _: True) is None

    def test_a_run_that_begins_anew_is_not_stopped_where_it_went_on_from(self) -> None:
        pruner = self.halving(1, 2, 3)
        assert pruner.promote(lambda _: True, n_first=1) == "run 0"
        pruner.begin("run 0", {}, [[MetricPoint({"loss": 1.0}, {"epoch": 1})]])
        assert pruner.note("run 0", [MetricPoint({"loss": 9.0}, {"epoch": 1})]) is None
        assert pruner.note("run 0", [MetricPoint({"loss": 9.0}, {"epoch": 2})]) is None

    def test_who_cannot_go_on_is_passed_over(self) -> None:
        assert self.halving(1, 2, 3).promote(lambda run_id: run_id != "run 0") == "run 1"

    def test_the_highest_rung_comes_first(self) -> None:
        pruner = self.halving(*range(12))
        for number in range(3):
            assert pruner.promote(lambda _: True) == f"run {number}"
            pruner.begin(f"run {number}", {}, [[MetricPoint({"loss": float(number)}, {"epoch": 1})]])
            for epoch in (2, 3):
                pruner.note(f"run {number}", [MetricPoint({"loss": -float(number)}, {"epoch": epoch})])
        # Of three at the second rung the third one, the best, went on at once; the fourth of twelve may at the first.
        assert pruner.promote(lambda _: True) == "run 3"
        assert pruner.promote(lambda _: True) is None
        assert pruner.promote(lambda _: True, n_first=2) == "run 1"

    def test_what_goes_on_is_told_with_what_came_before(self) -> None:
        pruner = self.halving(1, 2, 3)
        pruner.begin("run 0", {}, [[MetricPoint({"loss": 1.0}, {"epoch": 1})]])
        assert pruner.note("run 0", [MetricPoint({"loss": 0.5}, {"epoch": 2})]) is None
        pruner.note("run 0", [MetricPoint({"loss": 0.25}, {"epoch": 3})])
        assert pruner.n_points("run 0") == 3
        assert pruner.course_of("run 0") == {"1": 1.0, "3": 0.25}

    def test_what_begins_anew_is_told_without(self) -> None:
        pruner = self.halving(1, 2, 3)
        pruner.begin("run 0", {}, [[MetricPoint({"loss": 1.0}, {"epoch": 1})]])
        pruner.note("run 0", [MetricPoint({"loss": 7.0}, {"epoch": 1})])
        assert pruner.course_of("run 0") == {"1": 7.0}


@pytest.mark.parametrize(
    ("raw", "courses", "expected"),
    [
        # Others' means up to point 2: 3, 4, 5; their median is 4. The best of the last run is 4.5.
        ({"type": "median", "min_runs": 3, "warmup": 2}, [[4, 2], [5, 3], [6, 4], [9, 4.5]], {3: 2}),
        ({"type": "median", "min_runs": 3, "warmup": 2}, [[4, 2], [5, 3], [6, 4], [9, 4]], {}),
        ({"type": "median", "min_runs": 4, "warmup": 2}, [[4, 2], [5, 3], [6, 4], [9, 9]], {}),
        ({"type": "percentile", "percentile": 50, "min_runs": 3}, [[1], [2], [3], [2.5]], {3: 1}),
        ({"type": "percentile", "percentile": 75, "min_runs": 3}, [[1], [2], [3], [2.5]], {}),
        ({"type": "patience", "n": 2}, [[5, 4, 4, 4, 3]], {0: 4}),
        ({"type": "patience", "n": 2, "min_delta": 0.5}, [[5, 4.8, 4.6, 4.0]], {0: 3}),
        ({"type": "patience", "n": 3}, [[5, 4, 4, 4, 3]], {}),
        ({"type": "threshold", "worse_than": 2, "after": 2}, [[3, 3], [3, 2], [3, 1]], {0: 2}),
        ({"type": "threshold", "worse_than": 2, "after": 20, "by": "steps"}, [[3, 3], [3, 2]], {0: 2}),
        ({"type": "diverged"}, [[1, 2, math.nan], [1, math.inf], [1, 1e30]], {0: 3, 1: 2}),
        ({"type": "diverged", "factor": 10, "n": 2}, [[1, 11, 9, 11, 12], [1, 11, 1, 11]], {0: 5}),
    ],
)
def test_the_other_rules_decide_as_worked_out(
    raw: dict[str, Any], courses: list[list[float]], expected: dict[int, int]
) -> None:
    assert decide(courses, raw) == expected


def test_a_threshold_of_a_maximum_is_a_least_value() -> None:
    raw = {"type": "threshold", "worse_than": 0.5}
    assert decide([[0.4], [0.6]], raw, objective=ACCURACY) == {0: 1}


def test_several_rules_stop_a_run_by_the_first_that_says_so() -> None:
    courses = [[1, 1, 1, 1], [2, 2, math.nan]]
    assert decide(courses, {"type": "diverged"}, {"type": "patience", "n": 3}) == {0: 4, 1: 3}


def test_what_is_decided_does_not_depend_on_when_it_is_looked_at() -> None:
    values = [[5.0, 4.0, 3.0, 2.0], [6.0, 5.5, 5.0, 4.5]]
    found = []
    for n_at_once in (1, 2, 4):
        pruner = Pruner(rules({"type": "patience", "n": 2, "min_delta": 2}), LOSS)
        for i in range(0, 4, n_at_once):
            points = [MetricPoint({"loss": value}) for value in values[1][i : i + n_at_once]]
            verdict = pruner.note("run", points)
            if verdict is not None:
                found.append((verdict.at, verdict.value))
    assert found == [(3.0, 5.0)] * 3


def test_a_run_that_begins_anew_is_compared_with_its_new_course() -> None:
    pruner = Pruner(rules({"type": "patience", "n": 1}), LOSS)
    points = [MetricPoint({"loss": value}) for value in (3.0, 3.0)]
    assert pruner.note("run", points) is not None
    assert pruner.note("run", points) is None  # it is stopped already
    pruner.begin("run", {})
    assert pruner.note("run", points[:1]) is None
    assert pruner.note("run", points[:1]) is not None


def test_a_verdict_is_kept_with_its_numbers(tmp_path: Path) -> None:
    pruner = Pruner(rules({"type": "asha"}), ACCURACY)
    for number, value in enumerate((0.9, 0.8, 0.7)):
        verdict = pruner.note(f"run {number}", [MetricPoint({"loss": value})])
    assert verdict is not None
    pruner.write(verdict, tmp_path)
    told = read_verdict(tmp_path)
    assert told is not None
    assert (told["value"], told["threshold"], told["others"], told["rank"]) == (0.7, 0.9, [0.9, 0.8, 0.7], 3)
    assert describe_verdict(told) == "asha: loss 0.7 after 1 points is worse than 0.9, 3 of 3"
    (tmp_path / "early_stop.json").write_text(json.dumps([1]))
    assert read_verdict(tmp_path) is None


@pytest.mark.parametrize("name", RULES)
def test_every_rule_says_what_it_does(name: str) -> None:
    needed = {"hyperband": {"min_iter": 3}, "patience": {"n": 3}, "threshold": {"worse_than": 1.0}}
    (rule,) = rules({"type": name, **needed.get(name, {})})
    assert describe_rule(rule).startswith(name)


@pytest.mark.parametrize(
    ("raw", "is_error", "sentence"),
    [
        ({"type": "asha", "by": "share"}, True, "min is a share of a run with by: share, such as 0.1; 1 is all of it"),
        ({"type": "median", "by": "share"}, True, "warmup is a share of a run"),
        ({"type": "hyperband"}, False, "needs type: hyperband with min_iter, or with max_iter and s; ignored"),
        ({"type": "hyperband", "min_iter": "many"}, False, "min_iter: should be a valid integer.*ignored"),
        ({"type": "hyperbnd", "min_iter": 3}, False, "did you mean 'hyperband'"),
        ("hyperband", False, "needs type: hyperband with min_iter.*ignored"),
        ({"type": "asha", "mni": 3}, True, "asha: mni: unknown key; did you mean 'min'"),
        ({"type": "median", "by": "epoch"}, True, "did you mean 'epochs'"),
        ({"type": "patience"}, True, "needs the key 'n'"),
        ({"type": "percentile", "percentile": 100}, True, "should be less than 100"),
    ],
)
def test_faults_are_sentences(raw: Any, is_error: bool, sentence: str) -> None:
    faults = Faults(Document("sweep.yaml", {}))
    assert read_early_stopping(raw, faults) == ()
    (said,) = faults.errors if is_error else faults.warnings
    assert re.search(sentence, said)
