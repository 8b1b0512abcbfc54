"""One thing that was looked at: what was found, whether sweeps can run with it, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """What a finding means for sweeps."""

    OK = "ok"
    NOTE = "note"  # sweeps run; something will be slower, missing or done otherwise
    FAILED = "failed"  # sweeps cannot run


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``advice`` is what to do; empty where there is nothing to do."""

    name: str
    standing: Standing
    found: str
    advice: str = ""


def ok(name: str, found: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding(name=name, standing=Standing.OK, found=found)


def note(name: str, found: str, advice: str = "") -> Finding:
    """Return a finding with which sweeps run."""
    return Finding(name=name, standing=Standing.NOTE, found=found, advice=advice)


def failed(name: str, found: str, advice: str) -> Finding:
    """Return a finding with which no sweep runs."""
    return Finding(name=name, standing=Standing.FAILED, found=found, advice=advice)
