"""``best.yaml``: the best configuration of a sweep, for a person and for the next program."""

from __future__ import annotations

from pathlib import Path

import yaml

from sweepline.analysis.ranking import RankedConfig
from sweepline.analysis.significance import Standing
from sweepline.contract.files import write_whole
from sweepline.engine.planfile import describe_objective
from sweepline.runs import Objective


def write_best(path: Path, best: RankedConfig, objective: Objective, standing: Standing | None) -> None:
    """Write the best configuration as YAML: its parameters, its metrics, its runs, how it stands to the others."""
    document = {
        "objective": describe_objective(objective),
        "params": dict(best.params),
        "metrics": {name: {"mean": best.means[name], "std": best.spread[name]} for name in best.means},
        **({"standing": str(standing)} if standing is not None else {}),
        "runs": [{"run_id": run.run_id, "name": run.name, "seed": run.seed} for run in best.runs],
    }
    text = yaml.dump(document, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)
    write_whole(path, text.encode())
