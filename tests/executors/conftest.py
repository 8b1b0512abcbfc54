"""The cluster on which the contract is tried."""

from __future__ import annotations

from tests.engines.conftest import cluster

__all__ = ["cluster"]
