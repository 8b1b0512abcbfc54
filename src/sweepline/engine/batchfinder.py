"""The largest batch size that fits a program, found by trying it; kept, so that the same set-up is tried once."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sweepline.config.schema import FitsModel
from sweepline.config.settings import MEASURED_SIZES, SweepSettings, fits_record, read_known_sizes, with_sizes
from sweepline.contract.files import write_whole
from sweepline.contract.text import display_path
from sweepline.engine.batchprobe import ERROR, OK, TIMEOUT, Limit, Prober, SizeProbe
from sweepline.engine.places import LOCAL
from sweepline.engine.preparation import PreparedSweep, prepare_sweep
from sweepline.engine.state import SweepOptions
from sweepline.engine.tasks import source_of
from sweepline.errors import ConfigError
from sweepline.executors.local.gpus import Gpu, find_gpu
from sweepline.executors.local.slots import Slot
from sweepline.fits.freememory import SHARE_OF_FREE, free_bytes
from sweepline.fits.search import SearchResult, apply_factor, is_no_faster, search_by_memory
from sweepline.runs import canonical_json
from sweepline.space.dependent import Fits, find_fits
from sweepline.space.parameters import Constant, Parameter
from sweepline.space.plan import Plan
from sweepline.space.samplers.base import Tally
from sweepline.space.samplers.listed import ListedSampler

FOLDER, RECORDS = "batch_size", "batch_sizes.json"
MAX_SETUPS = 50
GIB = 1 << 30

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSize:
    """What was found for a set-up: the largest size that ran, and the share of it that is used.

    ``limit_bytes`` is what there was, ``seconds`` what the search cost; ``is_reused`` says that it was found before.
    """

    batch_size: int
    largest: int
    safety_factor: float
    limit_bytes: int | None
    probes: Sequence[Mapping[str, Any]]
    seconds: float
    is_reused: bool = False


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
        tell: takes pieces of lines for a person.

    Raises:
        SweeplineError: no size runs; or the program fails for another reason than memory.
    """
    prepared = _prepare(settings, options or SweepOptions(), {**base, parameter: fits.first}, fits)
    slot = prepared.slots.all[0]
    gpu = find_gpu(_gpu_of(slot), prepared.gpus) if slot.is_gpu else None
    n_sharing = prepared.tasks.n_sharing(slot) if is_shared else 1
    limit = _limit_of(fits, slot, gpu, n_sharing)
    folder = settings.sweep_dir / FOLDER
    gpu_total = gpu.total_mib if gpu is not None else None
    key = _key_of(settings, fits, base, limit, n_sharing=n_sharing, gpu_total=gpu_total)
    with _locked(folder, tell):
        known = None if is_again else _read_records(folder).get(key)
        if known is not None:
            tell(f"{parameter} {known['batch_size']}: found on {known['found_at']}, {known['largest']} fits\n")
            return _as_found(known, fits, is_reused=True)
        prober = Prober(prepared, parameter, fits, base, limit, slot, folder / "probes", seed)
        began = time.monotonic()
        found, probes = _search(prober, fits, limit, tell)
        used = apply_factor(found.batch_size, fits.safety_factor)
        record = {
            "found_at": datetime.now().isoformat(timespec="seconds"),
            "parameter": parameter,
            "program": settings.command.program,
            "base": dict(base),
            "largest": found.batch_size,
            "batch_size": used,
            "safety_factor": fits.safety_factor,
            "limit_bytes": limit.n_bytes,
            "device": slot.label,
            "host": platform.node(),
            "seconds": round(time.monotonic() - began, 3),
            "probes": [probe.to_dict() for probe in probes],
        }
        _write_record(folder, key, record)
    return _as_found(record, fits, is_reused=False)


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
        tell(f"{name} {found.batch_size} ({found.largest} fits, safety factor {found.safety_factor})\n")
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
    met: set[str] = set(fits.table)
    for params in Plan(settings.space).combinations(Tally()):
        key = fits.key(params)
        if key in met:
            continue
        met.add(key)
        if len(met) > MAX_SETUPS:
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


def _search(prober: Prober, fits: FitsModel, limit: Limit, tell: Tell) -> tuple[SearchResult, list[SizeProbe]]:
    probes: list[SizeProbe] = []
    peaks: dict[int, int] = {}

    def try_size(size: int, is_confirmation: bool) -> bool:
        tell(f"{'Confirming' if is_confirmation else 'Trying'} {prober.parameter}={size} ... ")
        probe = prober.probe(size, is_confirmation=is_confirmation)
        probes.append(probe)
        tell(f"{describe_probe(probe)}\n")
        if probe.status == ERROR:
            raise ConfigError(f"{prober.parameter}={size} fails, and not for want of memory: {probe.message}")
        if probe.status == OK and probe.peak_bytes:
            peaks[size] = probe.peak_bytes
        return probe.status == OK

    def is_enough(is_growing: bool) -> bool:
        rates = [probe.examples_per_s for probe in probes if probe.status == OK and probe.examples_per_s]
        is_over = is_growing and is_no_faster(rates) and not limit.is_enforced and limit.gpu is None
        if is_over:
            tell("Larger sizes are no faster: none is tried, as there is memory in plenty (memory_gib bounds it)\n")
        return is_over

    found = search_by_memory(
        try_size,
        peaks,
        first=fits.first,
        cap=fits.max,
        limit=limit.n_bytes,
        granularity=fits.granularity,
        max_trials=fits.max_trials,
        is_enough=is_enough,
    )
    return found, probes


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


@contextmanager
def _locked(folder: Path, tell: Tell) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=1)
        except Timeout:
            tell("Waiting for another search in this folder\n")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: {error.strerror or error}; sizes are recorded there") from None


def _read_records(folder: Path) -> dict[str, Any]:
    try:
        records = json.loads((folder / RECORDS).read_text(encoding="utf-8"))["records"]
        return {key: value for key, value in records.items() if isinstance(value, dict) and value.get("batch_size")}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):  # none yet, or none that can be read
        return {}


def _write_record(folder: Path, key: str, record: Mapping[str, Any]) -> None:
    records = {**_read_records(folder), key: record}
    write_whole(folder / RECORDS, (json.dumps({"records": records}, indent=2) + "\n").encode())


def take_in_sizes(sweep_dir: Path, other_dir: Path) -> None:
    """Take in what was measured in another folder of the same sweep; what is known here stays.

    Raises:
        OSError: it cannot be written.
    """
    ours, theirs = _read_records(sweep_dir / FOLDER), _read_records(other_dir / FOLDER)
    if theirs.keys() - ours.keys():
        (sweep_dir / FOLDER).mkdir(exist_ok=True)
        text = json.dumps({"records": {**theirs, **ours}}, indent=2)
        write_whole(sweep_dir / FOLDER / RECORDS, f"{text}\n".encode())
    known, found = (_read_measured(path / MEASURED_SIZES) for path in (sweep_dir, other_dir))
    joined = {**found, **known, "sizes": {**found.get("sizes", {}), **known.get("sizes", {})}}
    is_alike = not known or {**known, "sizes": {}} == {**found, "sizes": {}}
    if found and is_alike and joined != known:
        (sweep_dir / FOLDER).mkdir(exist_ok=True)
        write_whole(sweep_dir / MEASURED_SIZES, f"{json.dumps(joined, indent=2)}\n".encode())


def _read_measured(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {**found, "sizes": dict(found["sizes"])}
    except (OSError, ValueError, KeyError, TypeError):  # none was measured
        return {}


def _as_found(record: Mapping[str, Any], fits: FitsModel, *, is_reused: bool) -> FoundSize:
    largest = int(record["largest"])
    return FoundSize(
        batch_size=apply_factor(largest, fits.safety_factor),
        largest=largest,
        safety_factor=fits.safety_factor,
        limit_bytes=record.get("limit_bytes"),
        probes=record.get("probes", []),
        seconds=float(record.get("seconds", 0.0)),
        is_reused=is_reused,
    )
