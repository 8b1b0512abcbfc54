"""Metrics that a script logs by name, and those that transformers and others print by themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sweepline.programs.inspection.expressions import NUMBER, escape
from sweepline.programs.inspection.facts import FilePlace, Told
from sweepline.programs.inspection.keras import find_keras
from sweepline.programs.inspection.literals import called, keywords, last_name, literal, text_of
from sweepline.programs.inspection.mappings import (
    fill_name,
    first_variable,
    iterated_mapping,
    keys_of,
    strings_of,
)
from sweepline.programs.inspection.metricwords import (
    SPLIT_WORDS,
    is_metric_name,
    metric_word,
    name_of,
    split_of,
    words_of,
)
from sweepline.programs.inspection.reading import Source, SourceFile, where
from sweepline.programs.inspection.resultfiles import own_csv_files

_RUNS = ("wandb", "run", "wandb_run", "wandb_logger")
_TRAINERS = ("Trainer", "Seq2SeqTrainer", "SFTTrainer")
_NOTHING = ast.Constant(None)
_TABLE_OF_LIGHTNING = FilePlace(path="**/metrics.csv", where="CSVLogger")
_LOGGERS_OF_LIGHTNING = {"CSVLogger": "csv", "TensorBoardLogger": "tensorboard", "WandbLogger": "wandb"}
_OTHER_LOGGERS = ("MLFlowLogger", "CometLogger", "NeptuneLogger", "ClearMLLogger")


def find_logged(source: Source, settings: Sequence[str]) -> Iterator[Told]:
    """Yield what is logged, in the order of the text. ``settings`` are what the script calls its flags."""
    loops = _loops_around(source)
    tables, hands_on = own_csv_files(source), _hands_on(source)
    for file, function, call in source.calls_with_function():
        kind, context = _kind(source, call), getattr(function, "name", "")
        for name in _names(source, function, call, loops.get(id(call))) if kind else ():
            if kind == "line" or is_metric_name(name):
                told = Told(name=name, source=kind, context=context, where=where(file, call))
                yield (
                    _of_lightning(source, call, told)
                    if kind == "lightning"
                    else _in_own_table(told, tables, call, hands_on=hands_on)
                )
    yield from _meters(source)
    yield from _geometric(source)
    yield from find_keras(source, settings)
    yield from _transformers(source)


def _loops_around(source: Source) -> dict[int, ast.For]:
    """Return the innermost ``for`` around each call, by the call's id."""
    loops = (node for _, part in source.parts for node in ast.walk(part) if isinstance(node, ast.For))
    return {id(call): loop for loop in loops for call in ast.walk(loop) if isinstance(call, ast.Call)}


def _kind(source: Source, call: ast.Call) -> str:
    """Return where a call logs to; empty for one that logs nothing by name."""
    name, owner = called(call), last_name(getattr(call.func, "value", None))
    if name == "log_metrics" and source.imports("sweepline"):
        return "line"
    if name in ("log", "log_dict") and owner in ("self", "model", "pl_module") and call.args:
        is_wandb = source.imports("wandb") and isinstance(call.args[0], ast.Dict) and name == "log"
        return "wandb" if is_wandb else "lightning"
    if name == "log" and (owner == "trackio" or (owner in _RUNS and source.imports("trackio"))):
        return "trackio"
    if name == "log" and owner in _RUNS:
        return "" if "wandb" in source.optional_modules and _has_writer(source) else "wandb"
    if name in ("add_scalar", "add_scalars") or (name == "scalar" and owner == "summary"):
        return "tensorboard"
    if name == "log" and owner == "accelerator" and _accelerates_to_tensorboard(source):
        return "tensorboard"
    is_own = name == "log" and len(call.args) > 1 and bool(text_of(call.args[0])) and "%" not in text_of(call.args[0])
    is_log = name in ("log_metric", "log_metrics") or (name == "log" and owner in ("accelerator", "fabric", "mlflow"))
    if is_log and owner != "accelerator" and source.imports("mlflow"):
        return "log" if any(called(other) == "set_tracking_uri" for _, other in source.calls()) else "mlflow"
    return "log" if is_own or is_log else ""


def _has_writer(source: Source) -> bool:
    return any(called(call) == "SummaryWriter" for _, call in source.calls())


def _accelerates_to_tensorboard(source: Source) -> bool:
    makers = (call for _, call in source.calls() if called(call) == "Accelerator")
    return any(text_of(keywords(call).get("log_with")) in ("tensorboard", "all") for call in makers)


def _hands_on(source: Source) -> bool:
    """Whether a logger of the script's own hands the names that it is given on to TensorBoard."""
    return any(
        called(call) == "add_scalar"
        and bool(call.args)
        and last_name(call.args[0]) in [arg.arg for arg in getattr(getattr(function, "args", None), "args", ())]
        for _, function, call in source.calls_with_function()
    )


def _in_own_table(
    told: Told, tables: Sequence[tuple[SourceFile, FilePlace]], call: ast.Call, *, hands_on: bool
) -> Told:
    """Return what somebody's own logger takes as ``log(name, value)`` as in its CSV file, else in TensorBoard."""
    fitting = [place for _, place in tables if split_of(words_of(place.path)) == split_of(words_of(told.context))]
    chosen = next(iter(fitting or [place for _, place in tables]), None)
    if told.source != "log" or called(call) != "log":
        return told
    if chosen is None:
        return replace(told, source="tensorboard") if hands_on else told
    return replace(told, source="csv", file=replace(chosen, path=f"**/{chosen.path}"))


def _of_lightning(source: Source, call: ast.Call, told: Told) -> Told:
    """Return where ``self.log`` shows a value: in the progress bar, in the table of a test, in a log, or nowhere."""
    name = _name_in_lightning(source, call, told)
    is_in_bar = literal(keywords(call).get("prog_bar"), source.names) is True
    wanted = {"test": "test", "val": "validate"}.get(split_of(words_of(name)), "")
    is_in_table = any(called(other) == wanted for _, other in source.calls())
    if is_in_bar or is_in_table:
        return replace(told, name=name, source="lightning", pattern=f"{escape(name)}\\W+{NUMBER}")
    kind = lightning_log(source)
    return replace(told, name=name, source=kind, file=_TABLE_OF_LIGHTNING if kind == "csv" else None)


def _name_in_lightning(source: Source, call: ast.Call, told: Told) -> str:
    """Return the name under which Lightning keeps a value: of one that is logged by step and by epoch the latter's."""
    given = keywords(call)
    by_epoch = literal(given.get("on_epoch"), source.names) is True
    by_step = literal(given.get("on_step"), source.names)
    is_both = by_epoch and (by_step is True or ("on_step" not in given and told.context.startswith("training_step")))
    return f"{told.name}_epoch" if is_both else told.name


def lightning_log(source: Source) -> str:
    """Return where Lightning's loggers write: ``lightning_log`` is its usual one, TensorBoard's or a CSV file."""
    made = [called(call) for _, call in source.calls()]
    for name, kind in _LOGGERS_OF_LIGHTNING.items():
        if name in made:
            return kind
    trainers = [call for _, call in source.calls() if called(call) in ("Trainer", "LightningCLI")]
    is_off = any(literal(keywords(call).get("logger"), source.names) is False for call in trainers)
    has_other = any(name in made for name in _OTHER_LOGGERS)
    return "lightning_log" if trainers and not is_off and not has_other else "log"


def _names(source: Source, function: ast.AST, call: ast.Call, loop: ast.For | None) -> Iterator[str]:
    """Yield the names that a call logs under, as far as the text tells them."""
    for arg in call.args[:1]:
        if name := text_of(arg, source.names):
            yield name
        elif loop is not None and (names := _of_loop(source, function, arg, loop)):
            yield from names
        elif isinstance(arg, ast.JoinedStr):
            yield from _of_each_part(source, arg)
        else:
            yield from keys_of(source, arg, function)
    if called(call) == "log_metrics" and source.imports("sweepline"):
        yield from (name for name in keywords(call) if name not in ("epoch", "step", "samples"))


def _of_loop(source: Source, function: ast.AST, node: ast.expr, loop: ast.For) -> list[str]:
    """Return the names of ``for k, v in stats.items(): writer.add_scalar(f"val/{k}", v)``."""
    over = iterated_mapping(loop.iter)
    names = [] if over is None else keys_of(source, over, function) or strings_of(source, over, function)
    variable = first_variable(loop.target)
    return [made for name in names if variable and (made := fill_name(node, variable, name)) != text_of(node)]


def _of_each_part(source: Source, node: ast.JoinedStr) -> Iterator[str]:
    """Yield the names of ``f"{stage}_loss"`` for the parts of the data that a call of the script names."""
    if sum(isinstance(value, ast.FormattedValue) for value in node.values) != 1:
        return
    handed = {text_of(arg) for _, call in source.calls() for arg in call.args}
    for part in (word for word in SPLIT_WORDS if word in handed):
        yield "".join(str(value.value) if isinstance(value, ast.Constant) else part for value in node.values)


def _meters(source: Source) -> Iterator[Told]:
    """Yield what meters with a name and a format show: ``AverageMeter("Acc@1", ":6.2f")``."""
    for file, function, call in source.calls_with_function():
        texts = [text_of(arg) for arg in call.args]
        if called(call).endswith("Meter") and texts and is_metric_name(texts[0]):
            pattern = f"{escape(texts[0])}\\s*{NUMBER}"
            name = name_of(words_of(texts[0]))
            context = getattr(function, "name", "")
            yield Told(
                name=name,
                source="print",
                pattern=pattern,
                context=context,
                where=where(file, call),
                example=f"{texts[0]} ...",
            )


def _geometric(source: Source) -> Iterator[Told]:
    """Yield what PyTorch Geometric's ``log(Epoch=..., Val=val_acc)`` prints."""
    for file, call in source.calls() if source.imports("torch_geometric.logging") else ():
        for key, value in keywords(call).items() if called(call) == "log" else ():
            words = words_of(key) if is_metric_name(key) else words_of(last_name(value))
            if metric_word(words):
                pattern = f"(?<!\\w){key}: {NUMBER}"
                yield Told(
                    name=name_of(words), source="print", pattern=pattern, where=where(file, call), example=f"{key}: ..."
                )


def _transformers(source: Source) -> Iterator[Told]:
    """Yield what the Trainer of transformers prints: losses, with an evaluation what ``compute_metrics`` returns."""
    makers = [call for _, call in source.calls() if called(call) in _TRAINERS]
    if not makers or not source.imports("transformers", "trl"):
        return
    place = f"transformers' {called(makers[0])}"
    has_evaluation = any(
        called(call) == "evaluate" or literal(keywords(call).get("eval_dataset", _NOTHING), {}) is not None
        for _, call in source.calls()
    )
    names = ["eval_loss"] if has_evaluation else []
    for definition in source.definitions.values():
        if has_evaluation and definition.name == "compute_metrics":
            for node in ast.walk(definition):
                if isinstance(node, ast.Return) and isinstance(node.value, ast.Dict):
                    names += [f"eval_{name}" for key in node.value.keys if (name := text_of(key))]
    for name in ["train_loss", *dict.fromkeys(names)]:
        yield Told(name=name, source="print", pattern=f"{name}'?\\s*[=:]\\s*'?{NUMBER}", where=place, example="Trainer")
