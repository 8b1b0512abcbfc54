"""What one start of a sweep is made of. Its parts act on it: ``starts``, ``ends``, ``watching`` and the ``loop``."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from sweepline.analysis.effects import EffectWatch
from sweepline.config.settings import SweepSettings
from sweepline.engine.backlog import Backlog
from sweepline.engine.diskpause import DiskPause
from sweepline.engine.failureguard import FailureGuard
from sweepline.engine.freezing import Code
from sweepline.engine.hooks import Hooks
from sweepline.engine.keeping import BestRunFiles
from sweepline.engine.outcome import OutcomeReader
from sweepline.engine.progress import ActiveRun, Observer, Progress
from sweepline.engine.provenance import Provenance
from sweepline.engine.pruning.pruner import Pruner
from sweepline.engine.race import RaceRuns
from sweepline.engine.retries import RetryPolicy
from sweepline.engine.scheduler.sampler import StudySampler
from sweepline.engine.signals import StopRequests
from sweepline.engine.stability import StabilityGuard
from sweepline.engine.sweepstop import SweepStop
from sweepline.engine.tasks import TaskBuilder
from sweepline.errors import DiskFullError, RecordError
from sweepline.executors.base import Executor
from sweepline.executors.local.admission import GpuAdmission
from sweepline.executors.local.slots import Slots
from sweepline.recording.book import RecordBook
from sweepline.recording.events import ADDED, EXTRA, IN_SWEEP, RACE, REMOVED, REPEAT, RunRecord
from sweepline.recording.folders import SweepFolder
from sweepline.space.plan import Plan
from sweepline.space.shards import Part


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """What is asked of one start, beside what the sweep file says; None: as the file says.

    ``code`` is ``kept`` to go on with what the latest run executed, or ``new``. ``count`` bounds how many runs are
    started, ``only`` says which, as :class:`~sweepline.analysis.filters.Filter` reads it, ``shard`` which part of them,
    ``2/3`` the second of three; ``max_failures`` after how many failures nothing more is launched; ``race`` is how many
    configurations get more seeds at the end.
    """

    executor: str | None = None
    devices: str | None = None
    max_concurrent: int | None = None
    gpu_free_mib: int | None = None
    start: str | None = None
    count: int | None = None
    only: str | None = None
    shard: str | None = None
    race: int | None = None
    max_failures: int | None = None
    retry_failed: bool = False
    keep_going: bool = False
    fresh: bool = False
    take_over: bool = False
    code: str = "new"


@dataclass(kw_only=True)
class SweepState:
    """One start of a sweep.

    ``plan`` holds the runs of this start, ``planned`` their ids and ``whole`` those of all runs that the sweep file
    describes; None where there are too many to tell, or where they are not known before they are proposed. Recorded
    runs beside these stay in the books, uncounted.
    """

    settings: SweepSettings
    options: SweepOptions
    plan: Plan
    folder: SweepFolder
    slots: Slots
    tasks: TaskBuilder
    book: RecordBook
    reader: OutcomeReader
    code: Code
    observer: Observer
    requests: StopRequests
    progress: Progress
    guard: FailureGuard
    retries: RetryPolicy
    backlog: Backlog
    pause: DiskPause
    executor: Executor
    provenance: Provenance
    hooks: Hooks
    admission: GpuAdmission | None = None
    best_files: BestRunFiles | None = None
    effects: EffectWatch | None = None
    stability: StabilityGuard | None = None
    race: RaceRuns | None = None
    pruner: Pruner | None = None
    study: StudySampler | None = None
    enough: SweepStop | None = None
    planned: Set[str] | None = None
    whole: Set[str] | None = None
    added: Mapping[str, str] = field(default_factory=dict)
    """How recorded runs with other seeds stand to the sweep, where it has their configurations."""
    again: Set[str] = frozenset()
    """Runs that go again however they have ended."""
    part: Part | None = None
    """Which part of the runs this start was asked for, where it was for one."""
    repeats: Set[str] = frozenset()
    """Runs of this start that repeat configurations of the sweep with other seeds."""
    active: list[ActiveRun] = field(default_factory=list)
    n_held: int = 0
    """Ends that the disk has not taken yet."""

    is_paused: bool = False
    """Whether somebody has asked that nothing is launched until he asks otherwise."""

    @property
    def is_stopping(self) -> bool:
        """Whether nothing more is launched: a signal, a drain, enough found, or too many failures."""
        is_racing = self.race is not None and bool(self.race.begun)
        return self.is_stopped or (self.has_enough and not is_racing)

    @property
    def is_stopped(self) -> bool:
        """Whether that is for another reason than that enough was found."""
        return self.requests.first is not None or self.requests.is_draining or self.guard.halted is not None

    @property
    def has_enough(self) -> bool:
        """Whether enough was found, so that no more runs of the plan are started."""
        return self.enough is not None and self.enough.reason is not None

    @property
    def records(self) -> list[RunRecord]:
        """The recorded runs that belong to the sweep as it is now, and those that were asked for beside it."""
        return [record for record in self.book.records.values() if record.in_sweep != REMOVED]

    @property
    def started_records(self) -> list[RunRecord]:
        """The recorded runs of this start's plan, and of a race."""
        known = self.book.records.values()
        counts_added = self.planned is self.whole  # all of the sweep is started, not a part of it
        return [
            r
            for r in known
            if self.planned is None or r.run_id in self.planned or (counts_added and r.in_sweep in ADDED)
        ]

    def standing_of(self, run_id: str) -> str:
        """Return how a run that starts now stands to the sweep."""
        if self.race is not None and run_id in self.race.begun:
            return RACE
        if run_id in self.repeats:
            return REPEAT
        return IN_SWEEP if self.whole is None or run_id in self.whole else EXTRA

    @property
    def watched_metric(self) -> str:
        """The metric by which runs under way are judged; nothing where none is."""
        return self.pruner.metric if self.pruner is not None else ""

    def say(self, text: str) -> None:
        """Tell a person."""
        self.observer.note(text)

    def pause_or_raise(self, error: RecordError) -> None:
        """Pause when there is no room on the disk.

        Raises:
            RecordError: any other fault of the disk; nothing can be written down any more.
        """
        if not isinstance(error, DiskFullError):
            self.folder.check_is_there()  # says it better, if that is why
            raise error
        if self.pause.begin():
            self.say(self.pause.describe(self.n_held))
