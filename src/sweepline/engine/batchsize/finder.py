"""The largest batch size that fits a program, found by trying it; kept, so that the same set-up is tried once."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sweepline.config.schema import FitsModel
from sweepline.config.settings import MEASURED_SIZES, SweepSettings, fits_record, read_known_sizes, with_sizes
from sweepline.contract.files import write_whole
from sweepline.contract.text import display_path
from sweepline.engine.batchsize.probe import TIMEOUT, Prober
from sweepline.engine.batchsize.records import FOLDER, Tell, locked, read_records, write_record
from sweepline.engine.batchsize.search import MAX, MAX_TRIALS, SizeSearch, WriteOption, option_of_file
from sweepline.engine.batchsize.watch import Limit
from sweepline.engine.places import LOCAL
from sweepline.engine.preparation import PreparedSweep, prepare_sweep
from sweepline.engine.state import SweepOptions
from sweepline.engine.tasks import source_of
from sweepline.errors import ConfigError
from sweepline.executors.local.gpus import Gpu, find_gpu
from sweepline.executors.local.slots import Slot
from sweepline.fits.freememory import SHARE_OF_FREE, free_bytes
from sweepline.programs.location import missing_program
from sweepline.runs import Run, canonical_json
from sweepline.space.dependent import Fits, find_fits
from sweepline.space.parameters import Constant, Parameter
from sweepline.space.plan import Plan
from sweepline.space.samplers.base import Tally
from sweepline.space.samplers.listed import ListedSampler

MAX_SETUPS = 50
MEASURED_FIRST = "<measured first>"
GIB = 1 << 30
_RECORDED = ("batch_size", "largest", "safety_factor", "limit_bytes", "probes", "seconds", "n_trials", "ended_by")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSize:
    """What was found for a set-up: the largest size that ran, and the one that is used, about a share of it.

    ``limit_bytes`` is what there was, ``seconds`` what the search cost, which has tried ``n_trials`` sizes, and is
    ``ended_by`` memory, by that number, or by another; ``is_reused`` says that it was found before.
    """

    batch_size: int
    largest: int
    safety_factor: float
    limit_bytes: int | None
    probes: Sequence[Mapping[str, Any]]
    seconds: float
    n_trials: int
    ended_by: str
    is_reused: bool = False

    @property
    def verb(self) -> str:
        """What the largest size does: where trials ended the search it only ran."""
        return "ran" if self.ended_by == MAX_TRIALS else "fits"

    @property
    def remark(self) -> str:
        """What else there is to say of the largest size: whether larger ones may fit; nothing where memory ended it."""
        if self.ended_by == MAX_TRIALS:
            trials = "1 trial" if self.n_trials == 1 else f"{self.n_trials} trials"
            return f"stopped after {trials}; larger ones may fit"
        return f"of at most {self.largest}" if self.ended_by == MAX else ""


def find_batch_size(
    settings: SweepSettings,
    *,
    parameter: str,
    fits: FitsModel,
    base: Mapping[str, Any],
    options: SweepOptions | None = None,
    seed: int | None = None,
    is_again: bool = False,
    is_shared: bool = False,
    write_option: WriteOption = option_of_file,
    tell: Tell,
) -> FoundSize:
    """Return the size for a program, whose other parameters are ``base``; record it in the sweep's folder.

    Args:
        settings: of the program; its ``parameter`` takes the size.
        parameter: the name of the size.
        fits: how it is tried.
        base: what the program is started with beside it.
        options: which devices.
        seed: that the program is started with, where it takes one.
        is_again: whether to try although it was found before.
        is_shared: whether as many runs as the settings allow at a time share what is free.
        write_option: how options of the search are written where it was asked for.
        tell: takes pieces of lines for a person.

    Raises:
        SweeplineError: no size runs; or the program cannot be started, or fails for another reason than memory.
    """
    problem = missing_program(settings.command)
    if problem:
        where = f"{display_path(settings.path)}: " if settings.path.is_file() else ""  # none of a command
        raise ConfigError(f"{where}{problem}")
    folder = settings.sweep_dir / FOLDER
    with locked(folder, tell):  # what is free is looked at once nobody else tries sizes
        prepared = _prepare(settings, options or SweepOptions(), {**base, parameter: fits.first}, fits)
        slot = prepared.slots.all[0]
        gpu = find_gpu(_gpu_of(slot), prepared.gpus) if slot.is_gpu else None
        n_sharing = prepared.tasks.n_sharing(slot) if is_shared else 1
        limit = _limit_of(fits, slot, gpu, n_sharing)
        gpu_total = gpu.total_mib if gpu is not None else None
        key = _key_of(settings, fits, base, limit, n_sharing=n_sharing, gpu_total=gpu_total)
        known = None if is_again else read_records(folder).get(key)
        known = known if known is not None and _answers(known, fits) else None
        prober = Prober(prepared, parameter, fits, base, limit, slot, folder / "probes", seed)
        search = SizeSearch(prober, fits, limit, tell, write_option)
        try:
            how = known or _search(search, {"program": settings.command.program, "device": slot.label})
            earlier = known["probes"] if known is not None else []
            used = search.settle(how["largest"], earlier)
        except KeyboardInterrupt:
            tell("stopped: nothing was recorded\n")
            raise
        probes = [*earlier, *(probe.to_dict() for probe in search.probes)]
        record = {**how, "batch_size": used, "safety_factor": fits.safety_factor, "probes": probes}
        if record != known:
            write_record(folder, key, record)
    found = FoundSize(**{name: record[name] for name in _RECORDED}, is_reused=known is not None)
    if found.is_reused:
        tell(f"{parameter} {used}: found on {record['found_at']}, {found.largest} {found.verb}\n")
    return found


def _search(search: SizeSearch, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is recorded of a search but for the size that is used, with what is ``told`` of its set-up."""
    began, fits = time.monotonic(), search.fits
    found = search.find()
    return {
        "found_at": datetime.now().isoformat(timespec="seconds"),
        "parameter": search.prober.parameter,
        "base": dict(search.prober.base),
        **told,
        "host": platform.node(),
        "largest": found.batch_size,
        "ended_by": search.ended_by,
        "n_trials": found.n_trials,
        "timeout": fits.timeout,
        "limit_bytes": search.limit.n_bytes,
        "seconds": round(time.monotonic() - began, 3),
    }


def _answers(known: Mapping[str, Any], fits: FitsModel) -> bool:
    """Whether a search that was made is no poorer than one that is asked for."""
    if not {*_RECORDED, "found_at", "timeout"} <= known.keys():
        return False  # of another version
    has_late = any(probe["status"] == TIMEOUT for probe in known["probes"])
    is_short = known["ended_by"] == MAX_TRIALS and known["n_trials"] < fits.max_trials
    return not is_short and not (has_late and known["timeout"] < fits.timeout)


def measure_batch_size(settings: SweepSettings, options: SweepOptions, tell: Tell) -> SweepSettings:
    """Return the settings of a sweep with its batch size measured for each set-up that has none yet, and keep it.

    Raises:
        SweeplineError: it cannot be found.
    """
    space = settings.space
    measured = find_fits(space.parameters)
    if measured is None:
        return settings
    name, fits = measured
    how = FitsModel.model_validate(fits.options)
    prepared = prepare_sweep(settings, options, is_dry=True)
    if not prepared.place.is_here:
        raise ConfigError(
            f"{display_path(settings.path)}: {name}: fits is measured on this machine, and runs execute elsewhere "
            f"(executor: {prepared.place.kind}): measure it there, by sweepline batch-size, and write the size here"
        )
    n_sharing = _n_sharing(prepared)
    table = read_known_sizes(settings, n_sharing=n_sharing)  # without those for more or fewer runs at a time
    known, fits = dict(table), replace(fits, table=dict(table))
    for params in _setups(settings, name, fits):
        if options.shard is not None:
            where = display_path(settings.sweep_dir / FOLDER)
            raise ConfigError(
                f"--shard: {name} is measured, and every machine would find its own: sweepline run --count 1 measures "
                f"it; copy {where} to the other machines then"
            )
        if fits.names:
            tell(f"{name} for {', '.join(f'{other} {params.get(other)}' for other in fits.names)}:\n")
        base = {key: value for key, value in params.items() if key != name}
        seed = space.seeds[0] if space.seeds else None
        found = find_batch_size(
            settings, parameter=name, fits=how, base=base, options=options, seed=seed, is_shared=True, tell=tell
        )
        table[fits.key(params)] = found.batch_size
        remark = f"; {found.remark}" if found.remark else ""
        tell(f"{name} {found.batch_size} ({found.largest} {found.verb}, safety factor {found.safety_factor}{remark})\n")
    if table != known:
        text = json.dumps(fits_record(settings, table, n_sharing=n_sharing), indent=2)
        write_whole(settings.sweep_dir / MEASURED_SIZES, f"{text}\n".encode())
    return with_sizes(settings, table)


def count_unmeasured(prepared: PreparedSweep) -> tuple[str, int]:
    """Return the name of a batch size that is measured, and for how many set-ups it is not yet."""
    settings = prepared.settings
    measured = find_fits(settings.space.parameters)
    if measured is None:
        return "", 0
    name, fits = measured
    known = read_known_sizes(settings, n_sharing=_n_sharing(prepared))
    return name, sum(1 for _ in _setups(settings, name, replace(fits, table=known)))


def mark_unmeasured(prepared: PreparedSweep, runs: Iterator[Run]) -> Iterator[Run]:
    """Yield runs with :data:`MEASURED_FIRST` for a batch size that is not measured yet."""
    measured = find_fits(prepared.settings.space.parameters)
    if measured is None:
        yield from runs
        return
    name, fits = measured
    known = read_known_sizes(prepared.settings, n_sharing=_n_sharing(prepared))
    for run in runs:
        is_known = name not in run.params or fits.key(run.params) in known
        yield run if is_known else replace(run, params={**run.params, name: MEASURED_FIRST})


def _n_sharing(prepared: PreparedSweep) -> int:
    """Return how many runs share a device in a start."""
    return prepared.tasks.n_sharing(prepared.slots.all[0])


def _setups(settings: SweepSettings, name: str, fits: Fits) -> Iterator[dict[str, Any]]:
    """Yield one combination for each set-up that has no size yet.

    Raises:
        ConfigError: there are too many, or they cannot be told beforehand.
    """
    if settings.needs_limit:
        raise ConfigError(f"{display_path(settings.path)}: {name}: fits needs samples, to know what it is measured for")
    if settings.space.method == "bayes" and fits.names:
        raise ConfigError(
            f"{display_path(settings.path)}: {name}: fits is measured before the start, when method: bayes does not "
            "know its combinations; set fits: {per: []} for one size, or take method: random"
        )
    met, n_new = set(fits.table), 0
    for params in Plan(settings.space).combinations(Tally()):
        key = fits.key(params)
        if key in met:
            continue
        met.add(key)
        n_new += 1
        if n_new > MAX_SETUPS:
            raise ConfigError(
                f"{display_path(settings.path)}: {name}: fits would be measured for more than {MAX_SETUPS} "
                f"combinations of {', '.join(fits.names)}; name what memory depends on, as fits: {{per: [width]}}"
            )
        yield dict(params)


def _prepare(
    settings: SweepSettings, options: SweepOptions, params: Mapping[str, Any], fits: FitsModel
) -> PreparedSweep:
    parameters: dict[str, Parameter] = {name: Constant(value) for name, value in params.items()}
    space = replace(settings.space, parameters=parameters, constraints=(), zipped=(), listed=(), limit=1, grid_order=())
    # Memory that runs keep for their next step would count against a limit.
    own = replace(settings, space=space, whole=space, align=None, keep=None, malloc=_malloc(settings, fits))
    return prepare_sweep(own, replace(options, executor=LOCAL), is_dry=True, sampler=ListedSampler([params]))


def _malloc(settings: SweepSettings, fits: FitsModel) -> str:
    return "system" if fits.memory_gib is not None else settings.malloc


def _gpu_of(slot: Slot) -> str:
    """Return the first GPU of a slot: a probe's memory is looked at there."""
    return slot.visible.split(",")[0]


def _limit_of(fits: FitsModel, slot: Slot, gpu: Gpu | None, n_sharing: int) -> Limit:
    """Return what memory there is: as asked for, else nine tenths of the GPU's, or of what the machine has free.

    What is free is shared by the runs that are there at the same time.
    """
    asked = int(fits.memory_gib * GIB) if fits.memory_gib is not None else None
    if not slot.is_gpu:
        return Limit(asked or int(SHARE_OF_FREE * free_bytes() / n_sharing), is_enforced=asked is not None)
    if gpu is None:
        return Limit(asked, gpu=_gpu_of(slot))
    share = int(SHARE_OF_FREE * (gpu.free_mib << 20) / n_sharing)
    n_used = (gpu.total_mib - gpu.free_mib) << 20
    return Limit(min(share, asked or share), gpu=_gpu_of(slot), n_used=n_used)


def _key_of(
    settings: SweepSettings,
    fits: FitsModel,
    base: Mapping[str, Any],
    limit: Limit,
    *,
    n_sharing: int,
    gpu_total: int | None,
) -> str:
    """Return what set-ups have in common whose size is the same; ``gpu_total``, in MiB, tells the kind of GPU."""
    own = fits.model_dump(mode="json", exclude={"safety_factor", "timeout", "max_trials", "per"})
    bound = limit.n_bytes if limit.is_enforced else None  # what is free otherwise is never twice the same
    code = source_of(settings).digest()
    words = [settings.space.identity, code, list(settings.command.items), dict(base), own, bound, gpu_total, n_sharing]
    return hashlib.sha256(canonical_json(words).encode()).hexdigest()[:16]
