"""The shape of a sweep file as pydantic models: types and bounds of every key.

What the values mean together is checked in ``sweepfile``; the forms of a parameter are read in ``parameters``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from sweepline.config.placemodels import Kind, PilotModel, RayModel, SlurmModel
from sweepline.config.quantities import Count, Duration, Words
from sweepline.contract.runfolder import BEST_WEIGHTS, CHECKPOINTS


def _check_item(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise ValueError(f"an item of a command is a word or a number, got {value!r}")


Scalar = Annotated[Any, BeforeValidator(_check_item), WithJsonSchema({"type": ["string", "number", "boolean", "null"]})]

WANDB_ONLY_KEYS = frozenset(
    {"controller", "description", "image_uri", "imageuri", "job", "queue", "resource", "resource_args"}
)
"""Keys of W&B's schema that only its server or its launcher uses."""


def _check_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


def _check_threads(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"needs auto or a number of threads, got {value!r}")


def _check_runs_per_device(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"needs auto (as many as fit into a GPU's memory) or a number of runs, got {value!r}")


def _check_devices(value: Any) -> Any:
    is_list = isinstance(value, list) and bool(value)
    if is_list and all(isinstance(item, (int, str)) and not isinstance(item, bool) for item in value):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    if isinstance(value, str) and value:
        return value if value in ("auto", "cpu") else value.split(",")
    raise ValueError(f"needs auto, cpu, or a list such as [0, 1] or ['0,1', '2,3'], got {value!r}")


def _name_top(value: Any) -> Any:
    return {"top": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _name_style(value: Any) -> Any:
    return {"style": value} if isinstance(value, str) else value


Threads = Annotated[
    Any,
    BeforeValidator(_check_threads),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}]}),
]
RunsPerDevice = Annotated[
    Any,
    BeforeValidator(_check_runs_per_device),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}]}),
]
Devices = Annotated[
    Any,
    BeforeValidator(_check_devices),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["auto", "cpu"]},
                {"type": "array", "items": {"type": ["integer", "string"]}, "minItems": 1},
            ]
        }
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MetricModel(BaseModel):
    """The objective."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    name: str
    goal: Literal["minimize", "maximize"] = "minimize"
    summary: Literal["last", "min", "max", "best"] = Field(
        "last", description="which of a run's values is its result; best: the least or greatest, as goal says"
    )


class SeveralModel(MetricModel):
    """One of several objectives."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    pattern: Annotated[str, AfterValidator(_check_pattern)] | None = Field(
        None, description="regular expression with one group, for scripts without METRIC lines"
    )


def _form_of_metrics(value: Any) -> str:
    return SEVERAL if isinstance(value, (list, tuple)) else PATTERNS


PATTERNS, SEVERAL = "patterns", "several"
Metrics = Annotated[
    Annotated[dict[str, str], Tag(PATTERNS)]
    | Annotated[Annotated[tuple[SeveralModel, ...], Field(min_length=1)], Tag(SEVERAL)],
    Discriminator(_form_of_metrics),
]


class LocalLoggingModel(_Strict):
    """Where the CSV goes and which metrics have a column from the start."""

    csv_path: str | None = Field(None, description="relative to the experiment folder")
    metrics: tuple[str, ...] = ()


class AlignModel(_Strict):
    """A champion whose training all runs have to repeat, but for what is excepted."""

    champion: str = Field(description="a config, a frozen config, a run's folder, or the name of a preset")
    excepted: tuple[str, ...] = Field((), alias="except", description="keys that may differ, as those that are swept")
    waivers: str | None = Field(None, description="a file with waive: {key: reason} and names: {its key: ours}")


class KeepModel(_Strict):
    """Which files of runs that have finished stay."""

    best: Count = Field(description="of so many of the best runs, by the metric")
    files: tuple[str, ...] = Field(
        (CHECKPOINTS, BEST_WEIGHTS), description="what of the others is deleted: names or patterns in a run's folder"
    )


class FitsModel(_Strict):
    """How a batch size that fits is found for a program, by trying it."""

    safety_factor: float = Field(0.5, gt=0, le=1, description="share of the largest size that fits which is used")
    first: Count = Field(64, description="where the search begins")
    max: Count = Field(1 << 20, description="no size above this is tried, such as the number of examples")
    granularity: Count | None = Field(
        None, description="how near the search comes to the limit, by multiples of it; default: first, at most 1/16"
    )
    mode: Literal["binsearch", "power"] = Field("binsearch", description="power: sizes are first, doubled and halved")
    lines: Count = Field(3, description="a size fits that has printed so many lines of measurements, or has ended well")
    progress: Annotated[str, AfterValidator(_check_pattern)] | None = Field(
        None, description="regular expression: which lines count; default: METRIC, or numbers"
    )
    seconds: Duration | None = Field(None, description="count no lines: a size fits that has run for so long")
    timeout: Duration = Field(300.0, description="a size that has shown less after so long does not fit")
    memory_gib: float | None = Field(None, gt=0, description="what each process may allocate; default: what is free")
    max_trials: Count = Field(16, description="how many sizes may be tried, confirmations aside")
    per: tuple[str, ...] | None = Field(
        None, description="parameters on which memory depends; default: those that vary and are no fractions"
    )


class WandbModel(_Strict):
    """Weights & Biases settings of every run."""

    project: str | None = None
    entity: str | None = None
    group: str | None = Field(None, description="default: the sweep's name")
    name: str | None = Field(None, description="default: the swept values in short")
    tags: tuple[str, ...] = ()
    mode: Literal["auto", "online", "offline", "disabled"] = "auto"


class StabilityModel(_Strict):
    """Leaving out smaller values of a parameter once larger ones have trained without diverging."""

    parameter: str = Field(description="such as the step size; it is walked from its largest value to its smallest")
    depth: Count = Field(description="how many runs that are alike but for it, and did not diverge, are enough")


class RaceModel(_Strict):
    """More seeds for the leading configurations, once all of the sweep has run, until the best of them is clear."""

    top: Annotated[int, Field(strict=True, ge=2)] = Field(5, description="how many configurations, by the metric")
    seeds: Annotated[int, Field(strict=True, ge=3)] = Field(10, description="how many seeds each gets at most")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="how often equal ones may be told apart by mistake")


Race = Annotated[RaceModel, BeforeValidator(_name_top, json_schema_input_type=RaceModel | Annotated[int, Field(ge=2)])]


class StopSweepModel(_Strict):
    """When a sweep has found enough: nothing more is started then, and what is under way goes to its end."""

    patience: Count | None = Field(None, description="runs that ended in a row without a better result")
    target: float | None = Field(None, description="a result of the metric that is good enough")
    max_epochs: Count | None = Field(None, description="epochs of all runs together; points where none are told")

    @model_validator(mode="after")
    def _check_any(self) -> StopSweepModel:
        if self.patience is self.target is self.max_epochs is None:
            raise ValueError("names at least one of patience, target and max_epochs")
        return self


class SchedulerModel(_Strict):
    """What proposes runs instead of the method: W&B's block of this name, run here and offline."""

    engine: Literal["wandb", "optuna", "ax"] = Field(description="wandb: as method says")
    source: str | None = Field(None, description="Python file with the functions that are named here")
    optimizer: str | None = Field(None, description="function of a sweep that returns an optuna.Study, or an ax.Client")
    search_space: str | None = Field(None, description="function of a trial that returns the parameters of a run")

    @model_validator(mode="after")
    def _check_source(self) -> SchedulerModel:
        if (self.optimizer or self.search_space) and not self.source and self.engine != "wandb":
            raise ValueError("names a function, but no source: the Python file that it is in")
        return self


class StudyOption(_Strict):
    """What an option of a study changes: exactly one of these names a parameter."""

    set: str | None = Field(None, description="a parameter, which gets the option's value")
    decades: str | None = Field(None, description="a parameter, whose values become 10^-N .. 10^N")
    points: str | None = Field(None, description="a parameter, which gets N values, evenly in ratio, between its ends")

    @model_validator(mode="after")
    def _check_single(self) -> StudyOption:
        if sum(name is not None for name in (self.set, self.decades, self.points)) != 1:
            raise ValueError("names exactly one of set, decades and points")
        return self


class StudyModel(_Strict):
    """What a sweep file that is run by its name is about."""

    about: str = Field(description="one sentence, for the list of studies")
    options: dict[str, StudyOption] = Field({}, description="options of its own: --NAME VALUE")


class LoggingModel(_Strict):
    """Records beside the journal."""

    local: LocalLoggingModel = LocalLoggingModel()
    wandb: WandbModel | None = None


Style = Literal["wandb", "argparse", "click", "typer", "tyro", "absl", "fire"]


class ArgumentsModel(_Strict):
    """How ``${args}`` writes values: as a named parser takes them, single rules changed."""

    style: Style = "wandb"
    nulls: Literal["omit", "text"] | None = Field(None, description="omit: leave a null parameter out")
    lists: Literal["words", "repeat", "comma", "text"] | None = Field(
        None, description="words: --k 5 6; repeat: --k=5 --k=6; comma: --k=5,6"
    )
    booleans: Literal["flag", "no_flag", "text"] | None = Field(
        None, description="flag: --k or nothing; no_flag: --k or --no-k; text: --k=False"
    )


Arguments = Annotated[
    ArgumentsModel,
    BeforeValidator(_name_style, json_schema_input_type=ArgumentsModel | Style),
]


class OwnKeys(BaseModel):
    """Keys that are ours alone; they may stand at the top level or under ``x-sweepline``."""

    model_config = ConfigDict(frozen=True)
    config: str | None = Field(
        None,
        description="config file of train_single.py; of others, ${config_file} in command is a copy for each run",
    )
    arguments: Arguments = Field(
        ArgumentsModel(), description="how ${args} writes null, lists and booleans: argparse, click, typer, ..."
    )
    env: dict[str, Scalar] = Field(
        {}, description="variables of every run, with ${x} for a parameter and ${run_dir}; null: not inherited"
    )
    cwd: str | None = Field(
        None, description="where runs start: run (each in its own folder), program (beside it), or a folder"
    )
    prepare: Words | None = Field(None, description="command to run before the first run of a start; no shell")
    on_failure: Words | None = Field(None, description="command for each run that failed, told by SWEEPLINE_ variables")
    on_end: Words | None = Field(None, description="command at the end of a start, told by SWEEPLINE_ variables")
    constraints: list[Any] = []
    zip: list[Any] = Field([], description="parameters that go through their values together: [a, b], or several lists")
    runs: list[dict[str, Any]] = Field([], description="combinations that are run as they stand here, before others")
    samples: Count | None = Field(None, description="random: how many combinations")
    repeats: Count = Field(1, description="runs per combination, each with its own seed")
    seeds: tuple[Annotated[int, Field(strict=True)], ...] | None = None
    seed: Annotated[int, Field(strict=True)] = Field(0, description="of the sampler")
    executor: Kind = Field(
        "auto", description="where runs execute; auto: in the allocation that the sweep is started in, else here"
    )
    slurm: SlurmModel = Field(SlurmModel(), description="executor slurm: what each run asks of Slurm")
    pilot: PilotModel = Field(PilotModel(), description="executor pilot: the nodes of the allocation")
    ray: RayModel = Field(RayModel(), description="executor ray: what each run asks of Ray")
    max_concurrent: Count | None = None
    devices: Devices = "auto"
    runs_per_device: RunsPerDevice = 1
    gpu_free_mib: Count | None = Field(None, description="start on a GPU only while so much of its memory is free")
    threads: Threads = "auto"
    pin: bool = Field(False, description="give each slot CPU cores of its own, as many as it has threads")
    start: Literal["auto", "warm", "cold"] = Field(
        "auto", description="warm: fork runs of a Python program from one process that has done their imports"
    )
    preload: tuple[str, ...] | None = Field(
        None, description="modules to import before runs are forked; default: what the program itself imports"
    )
    malloc: Literal["tuned", "system"] = Field("tuned", description="memory settings of glibc for runs on CPUs")
    retry: Annotated[int, Field(strict=True, ge=0)] = 0
    on_oom: Literal["fail", "retry_smaller"] = Field(
        "fail", description="retry_smaller: a run of our trainer that ran out of memory goes again with smaller batches"
    )
    timeout: Duration | None = Field(None, description="longest time of one run: 90s, 30m, 2h")
    stall_timeout: Duration | None = Field(None, description="stop a run that writes nothing for so long")
    grace: Duration = Field(20.0, description="time between SIGTERM and SIGKILL when a run is stopped")
    grid_limit: Count = Field(1_000_000, description="refuse grids with more combinations")
    metrics: Metrics = Field(
        {},
        description="metric name -> regular expression with one group, over the output; or a list: several objectives",
    )
    metrics_from: list[Any] = Field(
        [], description="files with results: tensorboard, {csv: PATH}, {json: {path: PATH, at: log_history}}"
    )
    logging: LoggingModel = LoggingModel()
    code: Literal["frozen", "live"] = Field(
        "frozen", description="whether runs execute the program as it was when the sweep was started, or as it is"
    )
    align: AlignModel | None = Field(None, description="start only if runs are trained as a champion was")
    keep: KeepModel | None = Field(None, description="delete the checkpoints of runs that are not among the best")
    sampler: Literal["tpe", "gp", "cma", "qmc", "mfgp"] | None = Field(
        None,
        description="method bayes: what proposes, as Optuna calls it (default: tpe); qmc spreads evenly, mfgp learns "
        "from parts of runs (default with asha)",
    )
    resumable: bool | None = Field(
        None, description="a run that was stopped early may go on later from what it left in $SWEEPLINE_RUN_DIR"
    )
    stop_sweep: StopSweepModel | None = Field(None, description="start nothing more once enough is found")
    race: Race | None = Field(None, description="at the end: more seeds for the leading configurations")
    stability: StabilityModel | None = Field(
        None, description="grid: skip smaller values of a parameter once larger ones were stable"
    )
    study: StudyModel | None = Field(None, description="what sweepline studies tells of this file")
    report: Literal["end", "live", "never"] = Field(
        "end", description="when report.html is written: at the end of every start, while it runs too, or never"
    )


class SweepModel(OwnKeys):
    """A sweep file: W&B's schema, and ours."""

    model_config = ConfigDict(extra="allow", frozen=True, title="sweepline sweep file")
    method: Literal["grid", "random", "bayes", "custom"] = "grid"
    program: str | None = None
    command: list[Scalar] | None = None
    metric: MetricModel | None = None
    parameters: dict[Any, Any] = {}
    name: str | None = None
    project: str | None = None
    entity: str | None = None
    description: str | None = None
    run_cap: Count | None = None
    scheduler: SchedulerModel | None = Field(None, description="a study of one's own proposes what is run")
    early_terminate: Any = Field(
        None, description="a rule that stops runs early, {type: hyperband, min_iter: 3}, or a list of them"
    )
