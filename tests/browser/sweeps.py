"""Sweeps that never ran, as reports see them: the same numbers each time, in the shapes that a page must cope with."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sweepline.contract.metrics import MetricPoint
from sweepline.contract.runfolder import COMMAND, STDERR
from sweepline.recording.events import RunRecord
from sweepline.reports.collect import ReportedSweep
from sweepline.runs import Objective, State
from tests.fakes import recorded

LOSS = Objective(name="val.loss")
FIRST_START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
LOG_TAIL = "Traceback (most recent call last):\nRuntimeError: shape mismatch <b>here</b>"


def run(number: int, params: Mapping[str, Any], metrics: Mapping[str, float], **fields: Any) -> RunRecord:
    """Return the record of a run that held one of two slots for its duration."""
    duration_s = fields.setdefault("duration_s", 40.0 + number % 7)
    started_at = (FIRST_START + timedelta(seconds=number // 2 * 50)).isoformat()
    own = {"name": f"run-{number}", "device": f"gpu:{number % 2}", "started_at": started_at, "attempt": 1}
    return recorded(f"{number:012x}", params=params, metrics=metrics, **{**own, **fields, "duration_s": duration_s})


def sweep(records: Sequence[RunRecord], **fields: Any) -> ReportedSweep:
    """Return a sweep of records whose swept parameters are those of its first run."""
    swept = [name for name in records[0].params if name != "seed"] if records else []
    plan = {"n_runs": len(records), "slots": ["gpu:0", "gpu:1"], "method": "grid", "seeds": [0, 1, 2]}
    given = {"name": "demo", "path": Path("outputs/demo"), "objective": LOSS, "swept": swept, "plan": plan}
    return ReportedSweep(records=records, **{**given, **fields})


def history(n_points: int) -> Callable[[RunRecord], list[MetricPoint]]:
    """Return what reads the course of a run: loss and accuracy that near their last values, noisily."""

    def read(record: RunRecord) -> list[MetricPoint]:
        rng = random.Random(record.run_id)
        last = record.metrics.get("val.loss", 1.0)
        last = last if math.isfinite(last) else 3.0
        size = int(record.params.get("batch_size", 32) or 32)
        return [
            MetricPoint(
                {
                    "val.loss": last + 2 * math.exp(-5 * i / n_points) + 0.02 * rng.random(),
                    "val.acc": 1 / (1 + last + math.exp(-5 * i / n_points)),
                },
                {"epoch": i, "step": i * 1000, "samples": i * 1000 * size},
            )
            for i in range(1, n_points + 1)
        ]

    return read


def loss_of(params: Mapping[str, Any], seed: int | None) -> float:
    """Return a loss with a valley at a step size of 0.01, which other parameters shift a little, and noise."""
    rng = random.Random(repr((sorted(params.items()), seed)))
    found = 0.2 + 0.15 * math.log10(params.get("lr", 0.01) / 0.01) ** 2
    found += 0.03 * math.log2(params.get("batch_size", 32) / 32) ** 2 + 0.1 * params.get("dropout", 0.0)
    found += {"adam": 0.0, "sgd": 0.08, "rmsprop": 0.03}.get(params.get("optimizer", "adam"), 0.0)
    return found + rng.gauss(0, 0.02)


def grid(levels: Mapping[str, Sequence[Any]], n_seeds: int) -> list[RunRecord]:
    """Return a run for each combination and seed."""
    combinations = [dict(zip(levels, values, strict=True)) for values in itertools.product(*levels.values())]
    pairs = [(params, seed) for params in combinations for seed in range(n_seeds)]
    return [
        run(i, {**params, "seed": seed}, results(loss_of(params, seed)), seed=seed)
        for i, (params, seed) in enumerate(pairs)
    ]


def results(loss: float) -> dict[str, float]:
    """Return the metrics of a run with this loss."""
    return {"val.loss": loss, "val.acc": 1 / (1 + loss)}


def one_parameter(**fields: Any) -> ReportedSweep:
    """Five step sizes with three seeds each."""
    records = grid({"lr": [0.0001, 0.001, 0.01, 0.1, 1.0]}, 3)
    return sweep(records, read_history=history(12), **fields)


def two_parameters(**fields: Any) -> ReportedSweep:
    """Step size and batch size, two seeds; of the largest step size all runs diverged."""
    records = grid({"lr": [0.001, 0.003, 0.01, 0.03, 0.1], "batch_size": [16, 32, 64, 128]}, 2)
    ended = [r if r.params["lr"] < 0.1 else diverged(i, r.params) for i, r in enumerate(records)]
    return sweep(ended, read_history=history(12), **fields)


def two_objectives(**fields: Any) -> ReportedSweep:
    """Forty settings whose loss and accuracy cannot both be best: a front of some of them."""
    records = []
    for i in range(40):
        x, y = (i % 8) / 8, (i // 8) / 5
        params = {"x": x, "y": y}
        records.append(run(i, params, {"val.loss": (x - 1) ** 2 + y**2 + 0.1, "val.acc": 1 - x**2 - y}))
    told = [{"name": "val.loss", "goal": "minimize"}, {"name": "val.acc", "goal": "maximize"}]
    plan = {"n_runs": 40, "slots": ["gpu:0"], "method": "bayes", "objective": told[0], "objectives": told}
    return sweep(records, plan=plan, **fields)


def three_parameters(**fields: Any) -> ReportedSweep:
    """Step sizes by widths, of two kinds: of one the best step size moves with the width, of the other it stays."""
    levels = {"kind": ["moving", "staying"], "width": [64, 128, 256], "lr": [0.25, 0.5, 1.0, 2.0, 4.0]}
    records = []
    for kind, width, lr, seed in itertools.product(*levels.values(), range(2)):
        best = width / 128 if kind == "moving" else 1.0
        loss = 0.1 + math.log2(lr / best) ** 2 + seed / 100 + 20 / width
        params = {"kind": kind, "width": width, "lr": lr}
        records.append(run(len(records), params, results(loss), seed=seed))
    return sweep(records, **{"read_history": history(5), **fields})


def diverged(number: int, params: Mapping[str, Any]) -> RunRecord:
    """Return a run that ended well with a loss that is none."""
    return run(number, params, {"val.loss": math.nan, "val.acc": 0.1}, seed=params.get("seed"))


def draw(rng: random.Random, *, n_decimals: int) -> dict[str, Any]:
    """Return a setting of four parameters; the dropout has so many decimals."""
    return {
        "lr": float(f"{10 ** rng.uniform(-4, 0):.4g}"),
        "batch_size": rng.choice([16, 32, 64, 128]),
        "optimizer": rng.choice(["adam", "sgd", "rmsprop"]),
        "dropout": round(rng.uniform(0, 0.5), n_decimals),
    }


def five_parameters(n: int = 200, **fields: Any) -> ReportedSweep:
    """Five parameters of several kinds at random; some runs failed, some diverged, some were stopped early."""
    rng = random.Random(5)
    records = []
    for i in range(n):
        params = {
            **draw(rng, n_decimals=3),
            "nesterov": rng.choice([True, False]),
        }
        failure = {"state": State.FAILED, "reason": f"RuntimeError: shape mismatch at {i}", "exit_code": 1}
        if i % 17 == 3:
            records.append(run(i, params, {}, **failure))
        elif i % 23 == 5:
            records.append(run(i, params, {}, state=State.OUT_OF_MEMORY, reason="CUDA out of memory"))
        elif params["lr"] > 0.5:
            records.append(diverged(i, params))
        elif i % 11 == 7:
            records.append(run(i, params, results(1.5), state=State.PRUNED, reason="stopped at rung 3"))
        else:
            records.append(run(i, params, results(loss_of(params, i))))
    plan = {"n_runs": n, "slots": ["gpu:0", "gpu:1"], "method": "random"}
    return sweep(records, **{"read_history": history(12), "plan": plan, **fields})


def random_search(n: int = 10_000, **fields: Any) -> ReportedSweep:
    """Many runs of seven parameters and two metrics."""
    rng = random.Random(9)
    records = []
    for i in range(n):
        params = {
            **draw(rng, n_decimals=4),
            "width": rng.randint(16, 512),
            "depth": rng.randint(1, 8),
            "decay": float(f"{10 ** rng.uniform(-6, -2):.4g}"),
        }
        records.append(run(i, params, results(loss_of(params, i))))
    plan = {"n_runs": n, "slots": ["gpu:0", "gpu:1"], "method": "random"}
    return sweep(records, **{"plan": plan, **fields})


def only_failed(**fields: Any) -> ReportedSweep:
    """Three runs, none of which has a result."""
    failure = {"state": State.FAILED, "reason": "ImportError: no module named thing", "exit_code": 1}
    return sweep([run(i, {"lr": 0.1 * (i + 1)}, {}, **failure) for i in range(3)], **fields)


def with_folders(found: ReportedSweep, folder: Path) -> ReportedSweep:
    """Give each run of a sweep a folder with its command and its output."""
    for record in found.records:
        own = folder / "runs" / record.run_id
        own.mkdir(parents=True)
        (own / COMMAND).write_text(f"python train.py --run '{record.name}'\n")
        (own / STDERR).write_text(f"{LOG_TAIL}\n")
    return replace(found, run_dir=lambda record: folder / "runs" / record.run_id)


HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "__proto__",
    "constructor",
    "n" * 300,
    "loss 🚀 größe",
    "\u202eevil\u202c",
    "two\nlines",
    "nul\0byte",
    "a.b[0]['x']",
    "quo\"te`s'",
    "and or not in",
)


def hostile(**fields: Any) -> ReportedSweep:
    """Every hostile text as the name of a parameter, of a metric and of a run, as value, reason, host and device."""
    n = len(HOSTILE)
    records = []
    for i in range(2 * n):
        params: dict[str, Any] = {f"{name}": (i * 7 + k) % 5 / 10 for k, name in enumerate(HOSTILE)}
        params |= {"text": HOSTILE[i % n], "lr": 10.0 ** -(i % 3), "big": 10**400 if i == 3 else i % 4}
        own = {"name": HOSTILE[i % n], "reason": HOSTILE[-1 - i % n], "device": HOSTILE[i % 3], "host": HOSTILE[i % 2]}
        metrics = {name: 1.0 + (i * 3 + k) % 7 for k, name in enumerate(HOSTILE)}
        state = State.FAILED if i % 5 == 4 else State.FINISHED
        found = metrics if state == State.FINISHED else {}
        records.append(run(i, params, found, state=state, seed=2**63 + i % 2, code=HOSTILE[i % n], **own))
    plan = {"n_runs": len(records), "slots": list(HOSTILE), "method": HOSTILE[0], "host": HOSTILE[2], "seeds": [2**63]}

    def read(record: RunRecord) -> list[MetricPoint]:
        return [MetricPoint({name: v + 1 / i for name, v in record.metrics.items()}, {"epoch": i}) for i in range(1, 6)]

    given = {"name": HOSTILE[2], "objective": Objective(name=HOSTILE[0]), "plan": plan, "read_history": read}
    return sweep(records, **{**given, "remarks": HOSTILE, **fields})


def named(name: str, **fields: Any) -> ReportedSweep:
    """A small sweep of another name, with a parameter of its own."""
    records = grid({"lr": [0.001, 0.01, 0.1], "optimizer": ["adam", "sgd"]}, 1)
    return sweep(records, name=name, read_history=history(6), **fields)


def under_way() -> ReportedSweep:
    """Two parameters, of whose runs the last two have not ended."""
    done = two_parameters()
    going = [
        recorded(
            r.run_id,
            state=State.RUNNING,
            params=r.params,
            name=r.name,
            attempt=1,
            started_at=r.started_at,
            device=r.device,
        )
        for r in done.records[-2:]
    ]
    records = [*done.records[:-2], *going]
    return sweep(records, is_running=True, read_history=history(12))


def only_seeds() -> ReportedSweep:
    """One configuration with five seeds: no parameter differs."""
    return sweep([run(i, {"lr": 0.1, "seed": i}, results(0.5 + i / 100), seed=i) for i in range(5)])
