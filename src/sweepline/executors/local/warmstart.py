"""What is said of warm starts to an executor that forks its runs from a process that has done their imports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class WarmStart:
    """That runs shall be forked from a parent which has imported ``preload``; None: what the program itself imports.

    ``folders`` are where the program finds modules of its own; ``unused`` modules are left out though a library would
    import them later. With ``is_asked_for`` they are forked even where that spares no imports.
    """

    preload: Sequence[str] | None = None
    unused: Sequence[str] = ()
    folders: Sequence[str] = ()
    is_asked_for: bool = False


@runtime_checkable
class WarmingExecutor(Protocol):
    """An executor whose runs start warm while ``warm`` says how."""

    warm: WarmStart | None
