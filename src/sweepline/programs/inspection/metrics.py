"""The metrics that a script tells: what it prints, with expressions that find the numbers, and what it logs by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sweepline.contract.text import one_line
from sweepline.programs.inspection.facts import Told
from sweepline.programs.inspection.literals import called, keywords, last_name
from sweepline.programs.inspection.logged import find_logged
from sweepline.programs.inspection.metricwords import metric_word, name_of, split_of, words_of
from sweepline.programs.inspection.reading import Source, SourceFile, where
from sweepline.programs.inspection.templates import Hole, Piece, printed_template

_PRINTERS = re.compile(
    r"(?:.*_)?(?:print|info|echo|progress|progress_bar|set_description|set_description_str|set_postfix_str|log|debug|report|"
    r"display|cprint|pprint|logging|logger|printf|warning)(?:_.*)?|print.*|log_(?:msg|message|string|info)",
    re.IGNORECASE,
)
_STREAMS = ("stdout", "stderr", "tqdm")
_SEPARATORS = re.compile(r"^[\s,;|/*()\[\]\-–—:.>=%'\"]+")
_PARTS = re.compile(r"[,;|()\[\]\t]")
_METRIC_LINE = re.compile(r"METRIC\s")
_PAIR = re.compile(r"([^\s=]+)=$")
NUMBER = r"([\d.]+)"
_WORD_BEFORE = r"(?<![A-Za-z_])(?<![A-Za-z] )"


@dataclass(frozen=True, slots=True)
class _Place:
    """A number on a printed line: ``before`` is the text right before it, ``earlier`` what the line holds before that."""

    hole: Hole
    before: str
    earlier: Sequence[Piece]
    function: str
    where: str
    line: str


def find_told(source: Source) -> list[Told]:
    """Return what a script tells of its runs, printed metrics first, each name once."""
    places = list(_places(source))
    own = [Told(name=name, source="line", where=place.where) for place in places if (name := _metric_line(place))]
    found = [*own, *_postfixes(source), *_named(places), *find_logged(source)]
    return _each_once(found)


def _places(source: Source) -> Iterator[_Place]:
    for file, function, call in _printing_calls(source):
        names = source.names | _local_texts(function)
        name = getattr(function, "name", "")
        for pieces in _lines(printed_template(call, names)):
            text = one_line("".join(p if isinstance(p, str) else "..." for p in pieces), 60).strip()
            for i, piece in enumerate(pieces):
                before = pieces[i - 1] if i else ""
                if isinstance(piece, Hole):
                    told = before if isinstance(before, str) else ""
                    yield _Place(piece, told, pieces[: max(i - 1, 0)], name, where(file, call), text)


def _printing_calls(source: Source) -> Iterator[tuple[SourceFile, ast.AST, ast.Call]]:
    for file, part in source.parts:
        yield from ((file, function, call) for function, call in calls_within(part) if _prints(call))


def calls_within(part: ast.AST) -> Iterator[tuple[ast.AST, ast.Call]]:
    """Yield every call with the innermost function that it stands in, in the order of the text."""
    waiting: list[tuple[ast.AST, ast.AST]] = [(part, part)]
    found: list[tuple[ast.AST, ast.Call]] = []
    while waiting:
        function, node = waiting.pop()
        inner = node if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        if isinstance(node, ast.Call):
            found.append((function, node))
        waiting += [(inner, child) for child in ast.iter_child_nodes(node)]
    yield from sorted(found, key=lambda pair: (pair[1].lineno, pair[1].col_offset))


def _prints(call: ast.Call) -> bool:
    if not call.args:
        return False
    name, owner = called(call), last_name(getattr(call.func, "value", None))
    if name == "write":
        return owner in _STREAMS
    if any(
        keyword.arg == "file" and "err" not in ast.dump(keyword.value) and "out" not in ast.dump(keyword.value)
        for keyword in call.keywords
    ):
        return False
    return (
        (owner not in ("wandb", "mlflow", "np", "math", "torch", "self")
        and _PRINTERS.fullmatch(name) is not None)
        or (owner == "self" and name.startswith(("print", "echo")))
    )


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
                name=name, source="print", pattern=pattern, context=context, where=place.where, example=place.line
            )
            found.append(told)
    return found


def _name(place: _Place) -> str:
    """Return what a number is called, by its label, else by the expression; empty for what is no metric."""
    label = _PARTS.split(place.before.rstrip(" :=\t([{'\""))[-1]
    words = words_of(label)
    if metric_word(words):
        return name_of(words)
    if words and words[-1] not in ("test", "val", "images") and not place.hole.is_float:
        return ""
    own = words_of(
        re.sub(
            r"\.(avg|item\(\)|val|mean\(\)|data|value|global_avg|cpu\(\)|numpy\(\)|result\(\))",
            "",
            place.hole.expression,
        )
    )
    is_plain = len(own) <= 5 and not re.search(r"[+*/]", place.hole.expression)
    return name_of(own) if metric_word(own) and is_plain else ""


def _pattern(place: _Place, places: Sequence[_Place]) -> str:
    """Return an expression for a number, with more of its line where its label alone is not its own."""
    core = _core(place.before)
    is_labelled = any(char.isalpha() for char in core)
    others = [
        one for one in places if one is not place and one.before.rstrip().endswith(core.rstrip()) and core.strip()
    ]
    is_shared = any(one.line != place.line for one in others) or any(one.line == place.line for one in others)
    earlier = next(
        (_core(p) for p in reversed(place.earlier) if isinstance(p, str) and re.search(r"[A-Za-z]{2}", p)), ""
    )
    if (not is_labelled or is_shared) and earlier:
        return f"{_escape(earlier)}.*?{_escape(place.before.strip() if not is_labelled else core)}\\s*{NUMBER}"
    if not is_labelled:
        return ""
    start = _WORD_BEFORE if is_shared and core[0].isalpha() else ""
    return f"{start}{_escape(core)}\\s*{NUMBER}"


def _core(text: str) -> str:
    """Return the text before a number without what separates it from the one before."""
    cut = _SEPARATORS.sub("", text)
    return (cut or text.strip()).rstrip()


def _escape(text: str) -> str:
    """Return a text as a regular expression that people can read."""
    return (
        re.sub(r"\s+", r"\\s+", re.sub(r"([\\.^$*+?{}\[\]()|])", r"\\\1", text)).replace("\\s+", " ")
        if "  " not in text
        else re.sub(r"\s+", r"\\s+", re.sub(r"([\\.^$*+?{}\[\]()|])", r"\\\1", text))
    )


def _postfixes(source: Source) -> Iterator[Told]:
    """Yield what progress bars of tqdm show: ``set_postfix(loss=...)``."""
    for file, part in source.parts:
        for function, call in calls_within(part):
            if called(call) == "set_postfix":
                names = list(keywords(call))
                for arg in call.args:
                    if isinstance(arg, ast.Dict):
                        names += [
                            key.value
                            for key in arg.keys
                            if isinstance(key, ast.Constant) and isinstance(key.value, str)
                        ]
                for name in names:
                    if metric_word(words_of(name)):
                        context = getattr(function, "name", "")
                        yield Told(
                            name=name_of(words_of(name)),
                            source="print",
                            pattern=f"{_escape(name)}={NUMBER}",
                            context=context,
                            where=where(file, call),
                            example=f"{name}=...",
                        )


def _each_once(found: Sequence[Told]) -> list[Told]:
    """Return metrics with names of their own: of equal ones the last, of those with other patterns both, by their part."""
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
        kept.pop(name, None)
        kept[name] = replace(told, name=name)
    return list(kept.values())


def _numbered(name: str, kept: dict[str, Told]) -> str:
    return next(f"{name}_{n}" for n in range(2, len(kept) + 3) if f"{name}_{n}" not in kept)
