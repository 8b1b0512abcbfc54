"""``best.yaml``: the best configuration of a sweep, for a person and for the next program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sweepline.analysis.ranking import RankedConfig
from sweepline.analysis.significance import Standing
from sweepline.contract.files import write_whole
from sweepline.engine.planfile import describe_objective
from sweepline.runs import Objective


@dataclass(frozen=True, kw_only=True)
class BestResult:
    """What is best: by the first objective, and of several ones all that no other configuration beats."""

    objectives: Sequence[Objective]
    best: RankedConfig
    front: Sequence[RankedConfig] = ()
    standing: Standing | None = None


def write_best(path: Path, result: BestResult) -> None:
    """Write the best configuration as YAML: its parameters, its metrics, its runs, how it stands to the others.

    Of several objectives the best is that of the first one, and ``front`` has all that no other one beats.
    """
    first = describe_objective(result.objectives[0])
    document: dict[str, Any] = {"objective": first, **_describe(result.best)}
    if result.standing is not None and len(result.objectives) == 1:
        document["standing"] = str(result.standing)
    if len(result.objectives) > 1:
        document["objectives"] = [describe_objective(objective) for objective in result.objectives]
        document["front"] = [_describe(config) for config in result.front]
    text = yaml.dump(document, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)
    write_whole(path, text.encode())


def _describe(config: RankedConfig) -> dict[str, Any]:
    return {
        "params": dict(config.params),
        "metrics": {name: {"mean": config.means[name], "std": config.spread[name]} for name in config.means},
        "runs": [{"run_id": run.run_id, "name": run.name, "seed": run.seed} for run in config.runs],
    }
