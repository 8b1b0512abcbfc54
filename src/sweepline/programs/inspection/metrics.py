"""The metrics that a script tells: what it prints, with expressions that find the numbers, and what it logs by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sweepline.contract.text import one_line
from sweepline.programs.inspection.expressions import (
    NUMBER,
    WORD_BEFORE,
    core_of,
    escape,
    expressions_of,
    has_mean_after,
)
from sweepline.programs.inspection.facts import Expression, Flag, Told
from sweepline.programs.inspection.keras import epochs_of_keras
from sweepline.programs.inspection.literals import called, keywords, last_name
from sweepline.programs.inspection.logged import find_logged
from sweepline.programs.inspection.mappings import keys_of
from sweepline.programs.inspection.metricwords import is_metric_name, metric_word, name_of, split_of, words_of
from sweepline.programs.inspection.reading import Source, where
from sweepline.programs.inspection.resultfiles import dumped, find_in_files
from sweepline.programs.inspection.templates import Hole, Piece, printed_template

_PRINTERS = re.compile(
    r"(?:.*_)?(?:print|info|echo|progress|progress_bar|set_description|set_description_str|set_postfix_str|log|debug|report|"
    r"display|cprint|pprint|logging|logger|printf|warning)(?:_.*)?|print.*|log_(?:msg|message|string|info)",
    re.IGNORECASE,
)
_STREAMS = ("stdout", "stderr", "tqdm")
_PARTS = re.compile(r"[,;|()\[\]\t]")
_METRIC_LINE = re.compile(r"METRIC\s")
_PAIR = re.compile(r"([^\s=]+)=$")
_TAIL_OF_EXPRESSION = re.compile(r"\.(?:avg|item\(\)|val|mean\(\)|data|value|global_avg|cpu\(\)|numpy\(\)|result\(\))")
_LEVELS = ("debug", "info", "warning", "error", "critical")
_EVALUATIONS = ("metrics", "metric", "eval_metric", "eval_metrics")
"""Settings by which a script is told what to measure."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A number on a printed line: ``before`` is the text right before it, ``earlier`` what stands before that."""

    hole: Hole
    before: str
    earlier: Sequence[Piece]
    function: str
    where: str
    line: str
    key: str
    """Which line it is, and ``at`` which of its pieces."""
    at: int
    has_mean: bool = False
    """Whether a mean follows in parentheses, which counts for more than the last value."""


def find_told(source: Source, flags: Sequence[Flag] = ()) -> tuple[list[Told], list[Expression]]:
    """Return what a script tells of its runs, printed metrics first, each name once; and what finds the printed ones.

    Args:
        source: the script.
        flags: what it takes: paths may begin with them, and one may name what it measures.
    """
    lines: dict[str, Sequence[Piece]] = {}
    places = list(_places(source, lines))
    own = [Told(name=name, source="line", where=place.where) for place in places if (name := _metric_line(place))]
    printed = [*own, *_postfixes(source), *_printed_json(source, flags), *_named(places)]
    settings = [flag.key for flag in flags]
    found = _each_once([*printed, *find_logged(source, settings), *find_in_files(source, settings)])
    return found, [*expressions_of(found, lines), *epochs_of_keras(found)]


def _places(source: Source, lines: dict[str, Sequence[Piece]]) -> Iterator[_Place]:
    """Yield the numbers on printed lines; ``lines`` gets those lines."""
    goes_to_file = _logs_to_file(source)
    for file, function, call in source.calls_with_function():
        if not _prints(call) or (goes_to_file and called(call) in _LEVELS):
            continue
        names = source.names | _local_texts(function)
        name = getattr(function, "name", "")
        for pieces in _lines(printed_template(call, names)):
            text = one_line("".join(p if isinstance(p, str) else "..." for p in pieces), 60).strip()
            key = f"{where(file, call)} {len(lines)}"
            lines[key] = pieces
            for i, piece in enumerate(pieces):
                before = pieces[i - 1] if i else ""
                if isinstance(piece, Hole) and not (i > 1 and has_mean_after(pieces, i - 2)):
                    told = before if isinstance(before, str) else ""
                    earlier, place = pieces[: max(i - 1, 0)], where(file, call)
                    yield _Place(piece, told, earlier, name, place, text, key, i, has_mean_after(pieces, i))


def _logs_to_file(source: Source) -> bool:
    """Whether what is logged goes to a file instead of the output."""
    made = [call for _, call in source.calls()]
    has_file = any(called(call) == "basicConfig" and "filename" in keywords(call) for call in made)
    return has_file and not any(called(call) == "StreamHandler" for call in made)


def _prints(call: ast.Call) -> bool:
    if not call.args:
        return False
    name, owner = called(call), last_name(getattr(call.func, "value", None))
    if name == "write":
        return owner in _STREAMS
    if name == "log" and len(call.args) > 1 and _is_name(call.args[0]):
        return False  # log("loss", loss) of somebody's own logger
    if any(
        keyword.arg == "file" and "err" not in ast.dump(keyword.value) and "out" not in ast.dump(keyword.value)
        for keyword in call.keywords
    ):
        return False
    return (
        owner not in ("wandb", "mlflow", "np", "math", "torch", "self") and _PRINTERS.fullmatch(name) is not None
    ) or (owner == "self" and name.startswith(("print", "echo")))


def _is_name(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _is_name(node.left)  # "eval/" + name
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and "%" not in node.value


def _local_texts(function: ast.AST) -> dict[str, ast.expr]:
    """Return the texts that a function puts together before it prints them."""
    found: dict[str, ast.expr] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            is_text = isinstance(node.value, (ast.JoinedStr, ast.BinOp)) or (
                isinstance(node.value, ast.Call) and called(node.value) == "format"
            )
            if is_text:
                found[node.targets[0].id] = node.value
    return found


def _lines(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Yield what is printed, line by line."""
    line: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, Hole):
            line.append(piece)
            continue
        first, *rest = re.split(r"[\n\r]+", piece)
        line += [first] if first else []
        for text in rest:
            yield line
            line = [text] if text else []
    yield line


def _metric_line(place: _Place) -> str:
    """Return the name of a number on a METRIC line; empty for any other."""
    is_line = any(isinstance(piece, str) and _METRIC_LINE.search(piece) for piece in (*place.earlier, place.before))
    found = _PAIR.search(place.before)
    is_place = found is None or found[1] in ("epoch", "step", "samples")
    return found[1] if is_line and found is not None and not is_place else ""


def _named(places: Sequence[_Place]) -> list[Told]:
    """Return the printed numbers that a label or an expression names, with an expression that finds each."""
    named = [(place, name) for place in places if not _metric_line(place) and (name := _name(place))]
    found = []
    for place, name in named:
        context = " ".join(
            [place.function, *(piece for piece in place.earlier if isinstance(piece, str)), place.before]
        )
        pattern = _pattern(place, places)
        if pattern:
            told = Told(
                name=name,
                source="print",
                pattern=pattern,
                context=context,
                where=place.where,
                example=place.line,
                line=place.key,
                at=place.at,
            )
            found.append(told)
    return found


def _name(place: _Place) -> str:
    """Return what a number is called, by its label, else by the expression; empty for what is no metric."""
    label = _PARTS.split(place.before.rstrip(" :=\t([{'\""))[-1]
    words = words_of(label)
    if metric_word(words):
        return "" if "mixed" in words else name_of(words)  # mixed precision is none
    if not words or not place.hole.is_float:
        return ""
    own = words_of(_TAIL_OF_EXPRESSION.sub("", place.hole.expression))
    is_plain = len(own) <= 5 and not re.search(r"[+*/]", place.hole.expression)
    return name_of(own) if metric_word(own) and is_plain else ""


def _pattern(place: _Place, places: Sequence[_Place]) -> str:
    """Return an expression for a number, with more of its line where its label alone is not its own."""
    core = core_of(place.before)
    if not core:
        return ""
    number = rf"\s*[\d.]+\s*\(\s*{NUMBER}" if place.has_mean else rf"\s*{NUMBER}"
    is_shared = any(one is not place and _is_before(core, one.before) for one in places if one.where != place.where)
    is_twice = any(one is not place and _is_before(core, one.before) for one in places if one.where == place.where)
    is_own = metric_word(words_of(core)) != ""
    earlier = next(
        (core_of(p) for p in reversed(place.earlier) if isinstance(p, str) and re.search(r"[A-Za-z]{2}", p)), ""
    )
    if (not is_own or is_shared or is_twice) and earlier:
        return f"{escape(earlier)}.*?{escape(core)}{number}"
    return f"{WORD_BEFORE if is_shared and core[0].isalpha() else ''}{escape(core)}{number}"


def _is_before(core: str, text: str) -> bool:
    """Whether a label is the end of what stands before another number."""
    return text.rstrip().endswith(core)


def _postfixes(source: Source) -> Iterator[Told]:
    """Yield what progress bars of tqdm show: ``set_postfix(loss=...)``."""
    for file, function, call in source.calls_with_function():
        if called(call) != "set_postfix":
            continue
        names = [*keywords(call), *(name for arg in call.args for name in keys_of(source, arg, function))]
        for name in filter(is_metric_name, names):
            yield Told(
                name=name_of(words_of(name)),
                source="print",
                pattern=f"{escape(name)}={NUMBER}",
                context=getattr(function, "name", ""),
                where=where(file, call),
                example=f"{name}=...",
            )


def _printed_json(source: Source, flags: Sequence[Flag]) -> Iterator[Told]:
    """Yield what is printed as JSON: the keys that the text tells, else the metric that a flag names by default."""
    for file, function, call in source.calls_with_function():
        made = dumped(source, call.args[0], function) if _prints(call) else None
        if made is None:
            continue
        names = [name for name in keys_of(source, made, function) if is_metric_name(name)]
        for name in names or _measured_by_default(flags):
            yield Told(
                name=name,
                source="print",
                pattern=f'"{escape(name)}":\\s*{NUMBER}',
                context=getattr(function, "name", ""),
                where=where(file, call),
                example=f'{{..."{name}": ...}}',
            )


def _measured_by_default(flags: Sequence[Flag]) -> Iterator[str]:
    for flag in flags:
        values = flag.default if isinstance(flag.default, list) else [flag.default]
        if flag.key in _EVALUATIONS:
            yield from (value for value in values if isinstance(value, str) and is_metric_name(value))


def _each_once(found: Sequence[Told]) -> list[Told]:
    """Return metrics with names of their own: of equal ones the last, of those with other patterns both."""
    kept: dict[str, Told] = {}
    for told in found:
        name = told.name
        known = kept.get(name)
        if known is not None and known.pattern and told.pattern and known.pattern != told.pattern:
            split = split_of(words_of(told.context))
            if split and split not in words_of(name):
                name = f"{split}_{name}"
            elif split == split_of(words_of(known.context)) or not split:
                name = _numbered(name, kept)
        if known is not None and known.source in ("line", "print") and not told.pattern:
            continue
        if known is not None and not told.pattern and _is_held_out(known) and not _is_held_out(told):
            continue
        if known is not None and known.file is not None and told.file is not None and "*" in told.file.path:
            continue  # a file of each step, beside one of the last
        kept.pop(name, None)
        kept[name] = replace(told, name=name)
    return list(kept.values())


def _is_held_out(told: Told) -> bool:
    return split_of(words_of(told.context)) in ("val", "test")


def _numbered(name: str, kept: dict[str, Told]) -> str:
    return next(f"{name}_{n}" for n in range(2, len(kept) + 3) if f"{name}_{n}" not in kept)
