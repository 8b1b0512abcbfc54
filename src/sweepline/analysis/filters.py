"""Which runs are meant by an expression such as ``lr < 0.01 and state == 'finished'``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sweepline.contract.yamlfile import parse_yaml
from sweepline.errors import ConfigError, did_you_mean
from sweepline.recording.events import RunRecord, names_in
from sweepline.runs import Params, canonical_json
from sweepline.space.expressions import Expression, parse_expression

FACTS: Mapping[str, Callable[[RunRecord], Any]] = {
    "id": lambda run: run.run_id,
    "name": lambda run: run.name,
    "state": lambda run: run.state.value,
    "seed": lambda run: run.any_seed,
    "attempt": lambda run: run.attempt,
    "device": lambda run: run.device,
    "started_at": lambda run: run.started_at,
    "duration_s": lambda run: run.duration_s,
    "exit_code": lambda run: None if run.outcome is None else run.outcome.exit_code,
    "reason": lambda run: run.reason,
    "host": lambda run: "" if run.outcome is None else run.outcome.host,
    "in_sweep": lambda run: run.in_sweep,
    "tags": lambda run: run.tags.split(),
    "peak_memory_gib": lambda run: run.peak_memory_gib,
    "cpu_hours": lambda run: run.cpu_hours,
    "gpu_hours": lambda run: run.gpu_hours,
}
"""What may be asked of a run beside its parameters and metrics."""

_PAIR = re.compile(r"\s*([^\s=<>!,]+)\s*=(?!=)\s*(.*?)\s*", re.DOTALL)
_QUOTED_COMMA = re.compile(r""",(?=(?:[^"'\[\]]|"[^"]*"|'[^']*'|\[[^\]]*\])*$)""")


class Filter:
    """Decides by values, by name, whether a run is meant.

    ``text`` is an expression, or pairs such as ``lr=0.1, optimizer=adam``. ``names`` are what it may ask for.

    Raises:
        ConfigError: it cannot be read, or asks for something else.
    """

    def __init__(self, text: str, names: Iterable[str]) -> None:
        self.text = text
        known = list(dict.fromkeys(names))
        self._pairs = _read_pairs(text)
        self._expression: Expression | None = None
        if self._pairs is None:
            self._expression = parse_expression(text, known)
        self.names: Sequence[str] = list(self._pairs) if self._pairs is not None else self._expression_names()
        for name in self.names:
            if name not in known:
                hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
                quotes = f"; a text needs quotes: '{name}'" if self._pairs is None else ""
                raise ConfigError(f"{text!r}: nothing is called {name}{hint}{quotes}")

    def _expression_names(self) -> Sequence[str]:
        return self._expression.names if self._expression is not None else ()

    def __call__(self, values: Mapping[str, Any]) -> bool:
        """Whether a run with these values is meant; one that lacks what is asked for is not.

        Raises:
            ConfigError: values of different kinds are compared.
        """
        if self._pairs is not None:
            return all(
                name in values and canonical_json(values[name]) == canonical_json(wanted)
                for name, wanted in self._pairs.items()
            )
        assert self._expression is not None
        return self._expression(values)

    def of_record(self, record: RunRecord) -> bool:
        """Whether a recorded run is meant."""
        return self({name: value for name in self.names if (value := value_of(record, name)) is not None})

    def of_run(self, params: Params, seed: int | None) -> bool:
        """Whether a run of the plan is meant."""
        return self(params if seed is None else {**params, "seed": seed})


def _read_pairs(text: str) -> dict[str, Any] | None:
    """Return ``name=value, name=value`` as a mapping, values as in a sweep file; None where it is something else."""
    found: dict[str, Any] = {}
    for part in _QUOTED_COMMA.split(text):
        match = _PAIR.fullmatch(part)
        if match is None or not match[2]:
            return None
        found[match[1]] = parse_yaml(match[2], text).value
    return found


def value_of(record: RunRecord, name: str) -> Any:
    """Return a parameter, a metric, or a fact of a run, whichever has the name first; None where it has none."""
    if name in record.params:
        return record.params[name]
    if name in record.metrics:
        return record.metrics[name]
    fact = FACTS.get(name)
    return None if fact is None else fact(record)


def names_of(records: Sequence[RunRecord]) -> list[str]:
    """Return what may be asked of these runs: parameters, metrics and facts."""
    params, metrics = (names_in(map(read, records)) for read in (lambda r: r.params, lambda r: r.metrics))
    return list(dict.fromkeys([*params, *metrics, *FACTS]))
