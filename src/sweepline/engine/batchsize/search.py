"""The search for the batch size of a program, told line by line: what is tried, what ends it, what is used of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from sweepline.config.schema import FitsModel
from sweepline.engine.batchsize.probe import ERROR, NOT_STARTED, OK, TIMEOUT, Prober, SizeProbe
from sweepline.engine.batchsize.records import Tell
from sweepline.engine.batchsize.watch import Limit
from sweepline.errors import ConfigError
from sweepline.fits.memorymodel import is_the_same
from sweepline.fits.search import NothingFitsError, SearchResult, apply_factor, is_no_faster, search, search_by_memory

MAX, MAX_TRIALS, MEMORY, SPEED = "max", "max_trials", "memory", "speed"
_COARSEST = Fraction(1, 16)  # of what fits: how near the search comes where no granularity is set

WriteOption = Callable[[str, str], str]
"""How an option of the search is written where it was asked for: ``--seconds 20``, or as a sweep file has it."""


def option_of_file(name: str, value: str) -> str:
    """Return an option as a sweep file has it."""
    return f"fits: {{{name}: {value}}}"


@dataclass
class SizeSearch:
    """Tries sizes of a program; ``probes`` are all that it has tried.

    It ``ended_by`` the largest size of interest, the number of trials, memory, or by sizes that were no faster.
    """

    prober: Prober
    fits: FitsModel
    limit: Limit
    tell: Tell
    write_option: WriteOption = option_of_file
    ended_by: str = MEMORY
    probes: list[SizeProbe] = field(default_factory=list)
    _peaks: dict[int, int] = field(default_factory=dict)

    def find(self) -> SearchResult:
        """Return the largest size that runs.

        Raises:
            NothingFitsError: none does.
            ConfigError: the program fails for another reason than memory, or cannot be started.
        """
        try:
            found = self._search()
        except NothingFitsError as error:
            hint = self._hint_of_late()
            raise NothingFitsError(f"{error}; {hint}" if hint else str(error)) from None
        if found.is_cut_short:
            self.ended_by = MAX_TRIALS
        elif found.batch_size == found.cap:
            self.ended_by = MAX
        hint = self._hint_of_late()
        if hint:
            self.tell(f"{hint}\n")
        tried = {probe.batch_size: probe.peak_bytes for probe in self.probes if not probe.is_confirmation}
        known = {size: peak for size, peak in tried.items() if peak}
        if self.ended_by != MEMORY and len(known) == len(tried) and is_the_same(known):
            told = f"{max(known.values()) / 2**20:,.0f} MiB"
            name = self._written_as()
            self.tell(f"Memory was the same for all {len(known)} sizes ({told}): does the program read {name}?\n")
        return found

    def settle(self, largest: int, earlier: Sequence[Mapping[str, Any]] = ()) -> int:
        """Return the size that is used: the share of the largest, or one near it where that does not run.

        Args:
            largest: that ran.
            earlier: probes of an earlier search for the same.
        """
        share = self._share(largest)
        has_run = _which_ran([*earlier, *(probe.to_dict() for probe in self.probes)])
        if share not in has_run:
            has_run[share] = self._probe(share, "Trying", ", the size that is used").status == OK
        if has_run[share]:
            return share
        ran = [size for size, is_ok in has_run.items() if is_ok]
        smaller = max((size for size in ran if size < share), default=None)
        used = min([*ran, largest]) if smaller is None else smaller
        kind = "smallest" if smaller is None else "largest smaller"
        self.tell(f"{self.prober.parameter}={share} does not run: {used} is used, the {kind} size that has run\n")
        return used

    def _search(self) -> SearchResult:
        fits = self.fits
        granularity, trials = fits.granularity, fits.max_trials
        if fits.mode == "power":
            cap = _power_below(fits.first, fits.max)
            first = min(fits.first, cap)
            return search(
                self._try, first=first, cap=cap, is_bisecting=False, max_trials=trials, is_enough=self._is_enough
            )
        return search_by_memory(
            self._try,
            self._peaks,
            first=_multiple_below(fits.first, granularity),
            cap=_multiple_below(fits.max, granularity),
            limit=self.limit.n_bytes,
            granularity=granularity,
            coarsest=_COARSEST if granularity is None else Fraction(1),
            max_trials=trials,
            is_enough=self._is_enough,
        )

    def _try(self, size: int, is_confirmation: bool) -> bool:
        probe = self._probe(size, "Confirming" if is_confirmation else "Trying", is_confirmation=is_confirmation)
        name, ran = self.prober.parameter, [one.batch_size for one in self.probes if one.status == OK]
        if probe.status == NOT_STARTED:
            raise ConfigError(f"the program cannot be started: {probe.message}")
        if probe.status == ERROR:
            sentence = f"{name}={size} fails, and not for want of memory: {probe.message}"
            if ran:
                fine, power = self.write_option("granularity", "N"), self.write_option("mode", "power")
                sentence += f"; {max(ran)} has run: {fine} tries multiples of N alone, {power} doubles alone"
            raise ConfigError(sentence)
        if probe.status == TIMEOUT and probe.n_lines == 0 and not ran:
            raise ConfigError(
                f"{name}={size}: it ran {self.fits.timeout:g} s without an error and printed no line that counts: use "
                f"{self.write_option('seconds', '20')}, or {self.write_option('progress', 'REGEX')}"
            )
        if probe.status == OK and probe.peak_bytes:
            self._peaks[size] = probe.peak_bytes
        return probe.status == OK

    def _probe(self, size: int, verb: str, why: str = "", *, is_confirmation: bool = False) -> SizeProbe:
        self.tell(f"{verb} {self.prober.parameter}={size}{why} ... ")
        probe = self.prober.probe(size, is_confirmation=is_confirmation)
        self.probes.append(probe)
        self.tell(f"{describe_probe(probe)}\n")
        return probe

    def _is_enough(self, is_growing: bool) -> bool:
        rates = [probe.examples_per_s for probe in self.probes if probe.status == OK and probe.examples_per_s]
        is_over = is_growing and is_no_faster(rates) and not self.limit.is_enforced and self.limit.gpu is None
        if is_over:
            self.ended_by = SPEED
            bound = self.write_option("memory_gib", "N")
            self.tell(f"Larger sizes are no faster: none is tried, as there is memory in plenty ({bound} bounds it)\n")
        return is_over

    def _share(self, largest: int) -> int:
        share = apply_factor(largest, self.fits.safety_factor)
        if self.fits.mode == "power":
            return _power_below(self.fits.first, share)
        return _multiple_below(share, self.fits.granularity)

    def _hint_of_late(self) -> str:
        """Return what to do about sizes that had not shown enough in time; nothing where there are none."""
        late = next((probe for probe in self.probes if probe.status == TIMEOUT), None)
        if late is None:
            return ""
        options = (("seconds", "20"), ("progress", "REGEX"), ("timeout", "10m"))
        seconds, progress, timeout = (self.write_option(*option) for option in options)
        return (
            f"{self.prober.parameter}={late.batch_size} counts as too large, for it printed {late.n_lines} lines that "
            f"count in {self.fits.timeout:g} s: use {seconds}, or {progress}, or {timeout}"
        )

    def _written_as(self) -> str:
        """Return how the command names the size."""
        place = f"${{{self.prober.parameter}}}"
        words = self.prober.prepared.settings.command.items
        own = [word.partition("=")[0] for word in words if place in word.partition("=")[2]]
        return own[0] if own else self.prober.parameter


def _which_ran(probes: Sequence[Mapping[str, Any]]) -> dict[int, bool]:
    """Return of every size that was tried whether it ran each time."""
    has_run: dict[int, bool] = {}
    for probe in probes:
        size = int(probe["batch_size"])
        has_run[size] = has_run.get(size, True) and probe["status"] == OK
    return has_run


def _power_below(first: int, bound: int) -> int:
    """Return the largest size no larger than a bound that doubling, or halving, ``first`` comes to; 1 at least."""
    size = first
    while size > max(bound, 1):
        size //= 2
    while 2 * size <= bound:
        size *= 2
    return size


def _multiple_below(size: int, granularity: int | None) -> int:
    """Return the multiple of what was asked for that is no larger; the size itself where there is none."""
    return size if granularity is None else size // granularity * granularity or size


def describe_probe(probe: SizeProbe) -> str:
    """Return how a probe went, in one line."""
    if probe.status == TIMEOUT:
        return f"not ready in time: {probe.message}"
    if probe.status != OK:
        return f"{probe.status}: {probe.message}" if probe.message else probe.status
    parts = [f"{(probe.peak_bytes or 0) / 2**20:,.0f} MiB"] if probe.peak_bytes else []
    parts += [f"{probe.n_lines} lines"] if probe.n_lines else []
    parts += [f"{probe.examples_per_s:,.0f} examples/s"] if probe.examples_per_s else []
    return f"ok ({', '.join([*parts, f'{probe.seconds:.1f} s'])})"
