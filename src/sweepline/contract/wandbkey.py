"""Whether the W&B client would find an API key. Nothing here reads the key itself, or imports wandb."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping
from pathlib import Path

from sweepline.contract.wandbserver import server_host


def has_wandb_key(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is an API key in the environment or in the netrc file."""
    if environ.get("WANDB_API_KEY"):
        return True
    path = Path(environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return netrc.netrc(str(path)).authenticators(server_host(environ)) is not None
    except (OSError, ValueError, netrc.NetrcParseError):
        return False
