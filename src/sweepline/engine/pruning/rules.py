"""The rules by which a run is stopped early, each a function of its course and those of the others.

Hyperband is W&B's, as its sweep controller decides; the others follow Li et al. 2020 (asha) and Golovin et al. 2017
(median). All values are such that smaller is better.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sweepline.config import earlystopping as config
from sweepline.engine.pruning.courses import POINTS, SHARE, Course
from sweepline.engine.pruning.standings import Ladder, Standings

_N_SHOWN = 5
_Board = tuple[Mapping[str, Course], Standings | None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a run is stopped, with the numbers that it was decided on.

    ``value`` is what the run had ``at`` a budget counted ``by`` something, ``threshold`` what it would have needed.
    ``others`` are the values of all runs that had come so far, the run's own among them, best first; ``n_on`` of them
    had gone on, where only so many may.
    """

    rule: str
    value: float
    threshold: float
    at: float
    by: str
    others: tuple[float, ...] = ()
    n_on: int | None = None


def judge(
    rule: config.Rule,
    run_id: str,
    courses: Mapping[str, Course],
    standings: Standings | None,
    *,
    n_first: int | None = None,
) -> Verdict | None:
    """Return why a run is to be stopped now; None where it goes on.

    ``standings`` are what these courses amount to on the rule's :func:`ladder_of`; None where it has none.
    With ``n_first`` a rung of successive halving lets go on, of ``n`` runs that came there, ``n / factor`` *in all*, or
    so many; without it each run is judged by its rank alone.
    """
    own = courses[run_id]
    if isinstance(rule, config.Hyperband):
        assert standings is not None
        return _hyperband(rule, own, standings)
    if isinstance(rule, config.Asha):
        board = (courses, standings)
        return _asha(rule, own, board) if n_first is None else _asha_in_all(rule, own, board, n_first)
    if isinstance(rule, (config.Median, config.Percentile)):
        return _against_others(rule, run_id, courses)
    if isinstance(rule, config.Patience):
        return _patience(rule, own)
    if isinstance(rule, config.Threshold):
        return _threshold(rule, own)
    return _diverged(rule, own)


def ladder_of(rule: config.Rule) -> Ladder | None:
    """Return the rungs at which a rule compares runs, where what a run had at one stays what it is.

    Not so where rungs are shares of the whole of a run: that is known better as others end.
    """
    if isinstance(rule, config.Hyperband):
        is_strict = rule.strict
        return Ladder(
            lambda: (float(band) for band in bands_of(rule) if band > 0),
            lambda course: float(len(course.values)),
            lambda course, band: course.values[int(band) - 1] if is_strict else course.best_until(int(band)),
        )
    if isinstance(rule, config.Asha) and rule.by != SHARE:
        by = rule.by
        return Ladder(
            lambda: rungs_of(rule),
            lambda course: course.reached(by),
            lambda course, rung: math.inf if (value := course.value_at(rung, by)) is None else value,
            heeds_stops=True,
        )
    return None


def bands_of(rule: config.Hyperband) -> Iterator[int]:
    """Yield the bands of W&B's hyperband, in points: without an end where ``min_iter`` says where they begin."""
    if rule.min_iter is not None:
        yield from (int(rule.min_iter * rule.eta**i) for i in itertools.count())
    elif rule.max_iter is not None and rule.s is not None:
        yield from sorted(int(rule.max_iter / rule.eta**i) for i in range(1, rule.s + 1))


def rungs_of(rule: config.Asha) -> Iterator[float]:
    """Yield the rungs of successive halving: without an end where nothing says how far a whole run goes."""
    whole = 1.0 if rule.max is None and rule.by == SHARE else rule.max
    last = math.inf if whole is None else whole / rule.factor
    yield from itertools.takewhile(
        lambda rung: rung <= last, (round(rule.min * rule.factor**i, 9) for i in itertools.count())
    )


def describe_rule(rule: config.Rule) -> str:
    """Return what a rule does, for who looks at a plan."""
    if isinstance(rule, config.Hyperband):
        bands = list(itertools.islice(bands_of(rule), _N_SHOWN + 1))
        shown = ", ".join(map(str, bands[:_N_SHOWN])) + (" ..." if len(bands) > _N_SHOWN else "")
        return f"hyperband at {shown} points: the best 1/{rule.eta:g} go on"
    if isinstance(rule, config.Asha):
        rungs = [f"{rung:g}" for rung in itertools.islice(rungs_of(rule), _N_SHOWN + 1)]
        shown = ", ".join(rungs[:_N_SHOWN]) + (" ..." if len(rungs) > _N_SHOWN else "")
        return f"asha at {shown} {rule.by}: the best 1/{rule.factor:g} go on"
    options = rule.model_dump(exclude={"type"}, exclude_none=True)
    return f"{rule.type} ({', '.join(f'{name} {value}' for name, value in options.items())})"


def _hyperband(rule: config.Hyperband, own: Course, standings: Standings) -> Verdict | None:
    band = int(standings.highest(len(own.values)))
    if band < 1:
        return None
    values = standings.values(band)
    threshold, value = (
        values[int(len(values) / rule.eta)],
        own.values[band - 1] if rule.strict else own.best_until(band),
    )
    if not value > threshold:
        return None
    return Verdict("hyperband", value, threshold, band, POINTS, tuple(values))


def _asha(rule: config.Asha, own: Course, board: _Board) -> Verdict | None:
    reached = own.reached(rule.by)
    rung = max(itertools.takewhile(lambda rung: rung <= reached, rungs_of(rule)), default=0.0)
    value = own.value_at(rung, rule.by) if rung > 0 else None
    if value is None:
        return None
    values, _, room = standing_at(rule, rung, *board)
    room = max(1, room)  # of the first few the best goes on, as a rung cannot wait for others
    if value <= values[room - 1]:
        return None
    return Verdict("asha", value, values[room - 1], rung, rule.by, tuple(values))


def _asha_in_all(rule: config.Asha, own: Course, board: _Board, n_first: int) -> Verdict | None:
    """Judge a run when it comes to a rung, once."""
    reached, before = own.reached(rule.by), own.reached_before(rule.by)
    rung = max(itertools.takewhile(lambda rung: rung <= reached, rungs_of(rule)), default=0.0)
    value = own.value_at(rung, rule.by) if before < rung and rung > own.promoted_from else None
    if value is None:
        return None
    values, n_on, room = standing_at(rule, rung, *board)
    n_on -= 1  # it is there now, and has not gone on
    room = max(n_first, room)
    if n_on < room and value <= values[room - 1]:
        return None
    return Verdict("asha", value, values[max(1, room) - 1], rung, rule.by, tuple(values), n_on)


def standing_at(
    rule: config.Asha, rung: float, courses: Mapping[str, Course], standings: Standings | None
) -> tuple[list[float], int, int]:
    """Return the values of all runs that came to a rung, best first, how many of them went on, and how many may.

    Without standings all courses are looked through.
    """
    if standings is not None:
        values = standings.values(rung)
        return values, standings.n_on(rung), int(len(values) / rule.factor)
    came = [
        c for c in courses.values() if c.reached(rule.by) >= rung and (c.stopped_at is None or c.stopped_at >= rung)
    ]
    values = sorted(value for course in came if (value := course.value_at(rung, rule.by)) is not None)
    n_on = sum(course.stopped_at != rung for course in came)
    return values, n_on, int(len(values) / rule.factor)


def _against_others(
    rule: config.Median | config.Percentile, run_id: str, courses: Mapping[str, Course]
) -> Verdict | None:
    own = courses[run_id]
    reached = own.reached(rule.by)
    if reached < rule.warmup:
        return None
    others = [c for other, c in courses.items() if other != run_id and c.reached(rule.by) >= reached]
    if len(others) < rule.min_runs:
        return None
    if isinstance(rule, config.Median):
        means = sorted(course.mean_until(course.n_until(reached, rule.by)) for course in others)
        value, threshold, values = own.best_until(len(own.values)), statistics.median(means), means
    else:
        there = [course.value_at(reached, rule.by) for course in others]
        values = sorted([own.values[-1], *(v for v in there if v is not None)])
        n_good = max(1, math.ceil(len(values) * rule.percentile / 100))
        value, threshold = own.values[-1], values[n_good - 1]
    return Verdict(rule.type, value, threshold, reached, rule.by, tuple(values)) if value > threshold else None


def _patience(rule: config.Patience, own: Course) -> Verdict | None:
    if len(own.values) <= rule.n:
        return None
    before, since = own.best_until(len(own.values) - rule.n), min(own.values[-rule.n :])
    if since < before - rule.min_delta:
        return None
    return Verdict("patience", since, before - rule.min_delta, len(own.values), POINTS)


def _threshold(rule: config.Threshold, own: Course) -> Verdict | None:
    reached, value = own.reached(rule.by), own.values[-1]
    is_over = reached >= rule.after and value > rule.worse_than
    return Verdict("threshold", value, rule.worse_than, reached, rule.by) if is_over else None


def _diverged(rule: config.Diverged, own: Course) -> Verdict | None:
    last = own.values[-rule.n :]
    first = own.values[0] if own.values else math.inf
    limit = first * rule.factor if rule.factor is not None and 0 < first < math.inf else math.inf
    is_bad = len(last) == rule.n and all(value == math.inf or value > limit for value in last)
    return Verdict("diverged", last[-1], limit, len(own.values), POINTS) if is_bad else None
