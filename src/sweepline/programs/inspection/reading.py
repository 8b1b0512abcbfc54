"""A script's text as syntax trees: its file, and of the files beside it that it imports what it mentions by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sweepline.contract.text import display_path
from sweepline.errors import ConfigError
from sweepline.programs.inspection.literals import bound_names, last_name, literal
from sweepline.programs.modules import module_file
from sweepline.programs.sourcecode import SourceCode

MAX_FILES = 60
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: its path and its tree."""

    path: Path
    tree: ast.Module

    @property
    def definitions(self) -> dict[str, Definition]:
        """Its functions and classes, by name."""
        return {node.name: node for node in _statements(self.tree.body) if isinstance(node, Definition)}


@dataclass(frozen=True)
class Source:
    """A script with what it uses of the files beside it. ``parts`` are trees to look through, each with its file."""

    path: Path
    files: Sequence[SourceFile]
    targets: Sequence[str] = ()

    @property
    def script(self) -> SourceFile:
        """The script's own file."""
        return self.files[0]

    @cached_property
    def names(self) -> dict[str, ast.expr]:
        """What module-level names are bound to; the script's own count before those of files that it imports."""
        found: dict[str, ast.expr] = {}
        for file in reversed(self.files):
            found |= bound_names(list(_statements(file.tree.body)))
        return found

    @cached_property
    def definitions(self) -> dict[str, Definition]:
        """Functions and classes of all files, the script's own first."""
        found: dict[str, Definition] = {}
        for file in reversed(self.files):
            found |= file.definitions
        return found

    @cached_property
    def parts(self) -> list[tuple[SourceFile, ast.AST]]:
        """The script's whole tree, and of each other file its top level and the definitions that are mentioned."""
        used = self._mentioned()
        found: list[tuple[SourceFile, ast.AST]] = [(self.script, self.script.tree)]
        for file in self.files[1:]:
            body: list[ast.stmt] = []
            for node in _statements(file.tree.body):
                is_own = isinstance(node, Definition) and self.definitions.get(node.name) is node
                is_part = (
                    (is_own and node.name in used) if isinstance(node, Definition) else not isinstance(node, ast.If)
                )
                body += [node] if is_part else []
            found.append((file, ast.Module(body=body, type_ignores=[])))
        return found

    def _mentioned(self) -> set[str]:
        """Return the names of the definitions that the script mentions, and those that these mention."""
        used = set(self.targets)
        waiting = [self.script.tree, *(d for name in used if (d := self.definitions.get(name)))]
        while waiting:
            for node in ast.walk(waiting.pop()):
                name = last_name(node) or (node.name if isinstance(node, ast.alias) else "")
                definition = self.definitions.get(name.rpartition(".")[2])
                if definition is not None and definition.name not in used:
                    used.add(definition.name)
                    waiting.append(definition)
        return used

    def calls_with_function(self) -> Iterator[tuple[SourceFile, ast.AST, ast.Call]]:
        """Yield every call with its file and the innermost function around it."""
        for file, part in self.parts:
            yield from ((file, function, call) for function, call in calls_within(part))

    def calls(self) -> Iterator[tuple[SourceFile, ast.Call]]:
        """Yield every call, with its file, in the order of the text."""
        yield from self._calls

    @cached_property
    def _calls(self) -> list[tuple[SourceFile, ast.Call]]:
        calls: list[tuple[SourceFile, ast.Call]] = []
        for file, part in self.parts:
            found = [node for node in ast.walk(part) if isinstance(node, ast.Call)]
            calls += ((file, call) for call in sorted(found, key=lambda c: (c.lineno, c.col_offset)))
        return calls

    @cached_property
    def stored(self) -> dict[str, list[tuple[ast.AST, ast.expr]]]:
        """What names and attributes are bound to anywhere, by ``=`` or ``with``, each with the function around it."""
        found: dict[str, list[tuple[ast.AST, ast.expr]]] = {}
        for _, part in self.parts:
            for function, node in nodes_within(part):
                for target, value in _bindings(node):
                    found.setdefault(last_name(target), []).append((function, value))
                for name, default in _parameter_defaults(node):
                    found.setdefault(name, []).append((node, default))
        return found

    def values_of(self, name: str, function: ast.AST, line: int = 0) -> list[ast.expr]:
        """Return what a name is bound to: in a function, where it is bound there, else anywhere.

        Of several the last one above ``line`` comes first.
        """
        every = self.stored.get(name, [])
        found = [value for at, value in every if at is function] or [value for _, value in every]
        return sorted(found, key=lambda value: (value.lineno > line, abs(value.lineno - line)))

    @cached_property
    def optional_modules(self) -> set[str]:
        """The modules that are imported within ``try``, so that the script works without them."""
        tries = (node for file in self.files for node in ast.walk(file.tree) if isinstance(node, ast.Try))
        imports = (node for one in tries for node in ast.walk(one) if isinstance(node, ast.Import))
        return {alias.name for node in imports for alias in node.names}

    def imports(self, *modules: str) -> bool:
        """Whether any of the files imports one of these packages."""
        return any(name.split(".")[0] in modules or name in modules for name in self.imported)

    @cached_property
    def imported(self) -> set[str]:
        """The modules that its files import."""
        found: set[str] = set()
        for file in self.files:
            for node in ast.walk(file.tree):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        return found

    @property
    def aliases(self) -> Mapping[str, str]:
        """What the script calls what it imports: ``{"flags": "absl.flags"}``."""
        found: dict[str, str] = {}
        for node in ast.walk(self.script.tree):
            if isinstance(node, ast.Import):
                found |= {alias.asname or alias.name: alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        return found


def read_source_of(path: Path, targets: Sequence[str] = ()) -> Source:
    """Read a script, and the files beside it that it imports.

    Args:
        path: the script.
        targets: dotted names of what it uses without an import, such as the ``_target_`` of a config.

    Raises:
        ConfigError: it cannot be read, or is no Python.
    """
    label = display_path(path)
    if path.suffix not in (".py", ""):
        raise ConfigError(
            f"{label}: is no Python script, and only those can be looked at; see docs/recipes.md for others"
        )
    try:
        text = path.read_bytes()
        tree = ast.parse(text)
    except OSError as error:
        raise ConfigError(f"{label}: cannot be read: {error.strerror}") from None
    except SyntaxError as error:
        raise ConfigError(f"{label}:{error.lineno}: is no Python that this version reads: {error.msg}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{label}: is no Python source") from None
    folder = path.resolve().parent
    roots = list(dict.fromkeys([folder, Path.cwd().resolve(), *(folder.parents[:2] if targets else ())]))
    others = [module for name in targets for root in roots if (module := module_file(root, name.rpartition(".")[0]))]
    found = [other for other in SourceCode([path, *others], roots=roots).paths if other != path.resolve()]
    trees = [(other, its) for other in found[:MAX_FILES] if other.suffix == ".py" and (its := _parse(other))]
    files = [SourceFile(path, tree), *(SourceFile(other, its) for other, its in trees)]
    return Source(path, files, tuple(name.rpartition(".")[2] for name in targets))


def _parse(path: Path) -> ast.Module | None:
    """Return a file's tree; None for one that would not be imported either."""
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those within ``try`` and ``if`` too, but for ``if __name__ == "__main__"``."""
    for node in body:
        if isinstance(node, ast.Try):
            yield from _statements([*node.body, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.If) and "__name__" not in ast.dump(node.test):
            yield from _statements([*node.body, *node.orelse])
        else:
            yield node


def _bindings(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(node, ast.Assign):
        yield from ((target, node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield node.target, node.value
    elif isinstance(node, (ast.With, ast.AsyncWith)):
        yield from ((item.optional_vars, item.context_expr) for item in node.items if item.optional_vars is not None)


def _parameter_defaults(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args)]
        n = len(node.args.defaults)
        given = zip(names[len(names) - n :], node.args.defaults, strict=True)
        yield from ((name, value) for name, value in given if literal(value, {}) not in ("", ".", None))


def nodes_within(part: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield every node with the innermost function that it stands in."""
    waiting: list[tuple[ast.AST, ast.AST]] = [(part, part)]
    while waiting:
        function, node = waiting.pop()
        inner = node if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        yield function, node
        waiting += [(inner, child) for child in ast.iter_child_nodes(node)]


def calls_within(part: ast.AST) -> Iterator[tuple[ast.AST, ast.Call]]:
    """Yield every call with the innermost function that it stands in, in the order of the text."""
    found = [(function, node) for function, node in nodes_within(part) if isinstance(node, ast.Call)]
    yield from sorted(found, key=lambda pair: (pair[1].lineno, pair[1].col_offset))


def where(file: SourceFile, node: ast.AST) -> str:
    """Return ``file:line``."""
    return f"{file.path.name}:{getattr(node, 'lineno', 1)}"


def first_line(text: str, limit: int = 70) -> str:
    """Return the beginning of a help text, fit for a comment."""
    line = re.sub(r"[^\x20-\x7e]+", " ", " ".join(text.split()))
    return line if len(line) <= limit else f"{line[: limit - 3].rstrip()}..."
