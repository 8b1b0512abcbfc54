"""A sweep in parts, one for each machine: which of its runs are those of part K of N. Pure: nobody is asked.

A run belongs to a part by its id, which says nothing of the order of the file: so a file that is edited between the
starts of two machines, ``--set`` and ``--only`` leave nearly every run where it was, and no value of a parameter is
gathered on one machine, as by every N-th run of a grid.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sweepline.errors import ConfigError
from sweepline.runs import Params, run_id_of
from sweepline.space.plan import Plan

_SHARD = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})")


@dataclass(frozen=True, slots=True)
class Part:
    """Part ``number``, from 1, of ``n_parts``; ``n_runs`` of ``n_all`` runs, None where there are too many to tell."""

    number: int
    n_parts: int
    n_runs: int | None = None
    n_all: int | None = None

    def __str__(self) -> str:
        runs = "" if self.n_runs is None or self.n_all is None else f": {self.n_runs:,} of {self.n_all:,} runs"
        return f"part {self.number} of {self.n_parts}{runs}"

    def holds(self, run_id: str) -> bool:
        """Whether a run is of this part by its id alone."""
        return _home(run_id, self.n_parts) == self.number - 1


def parse_shard(text: str) -> Part:
    """Return the part that ``K/N`` names.

    Raises:
        ConfigError: it names none.
    """
    found = _SHARD.fullmatch(text.strip())
    if found is None or int(found[1]) > int(found[2]):
        raise ConfigError(f"--shard {text}: needs K/N, such as 1/2 on one machine and 2/2 on the other")
    return Part(int(found[1]), int(found[2]))


def take_part(plan: Plan, part: Part) -> tuple[Plan, Part]:
    """Return the plan of those runs of a plan that are of a part, and the part with its numbers.

    Parts differ by one run at most, as long as there are not too many runs to know all beforehand.

    Raises:
        ConfigError: the runs are not known beforehand, or there are fewer than parts.
    """
    if not plan.is_enumerable:
        raise ConfigError(
            "--shard splits runs that are known beforehand, and here each is proposed by what others have come to: "
            "run it on one machine, or take method: random, which draws the same on every machine"
        )
    identity = plan.space.identity
    if not plan.is_small:
        return plan.pick(lambda params, seed: part.holds(run_id_of(params, seed, identity))), part
    ids = plan.ids()
    own = split_ids(ids, part.n_parts)[part.number - 1]
    if not own:
        n = "one run" if len(ids) == 1 else f"{len(ids)} runs"
        raise ConfigError(f"--shard {part.number}/{part.n_parts}: {n} in all, and none is left for this part")

    def is_own(params: Params, seed: int | None) -> bool:
        return run_id_of(params, seed, identity) in own

    return plan.pick(is_own), Part(part.number, part.n_parts, len(own), len(set(ids)))


def split_ids(run_ids: Iterable[str], n_parts: int) -> list[set[str]]:
    """Return run ids in parts that differ by one at most, whatever their order.

    Each is in the part that it names; the fewest that do it are moved to make parts equal.
    """
    parts: list[list[str]] = [[] for _ in range(n_parts)]
    n_all = 0
    for run_id in sorted(set(run_ids)):
        parts[_home(run_id, n_parts)].append(run_id)
        n_all += 1
    size, n_larger = divmod(n_all, n_parts)
    largest_first = sorted(parts, key=len, reverse=True)
    surplus: list[str] = []
    for i, ids in enumerate(largest_first):
        end = size + (i < n_larger)
        surplus += ids[end:]
        del ids[end:]
    for i, ids in enumerate(largest_first):
        n_missing = size + (i < n_larger) - len(ids)
        ids.extend(surplus[:n_missing])
        del surplus[:n_missing]
    return list(map(set, parts))


def _home(run_id: str, n_parts: int) -> int:
    return int(run_id, 16) % n_parts
