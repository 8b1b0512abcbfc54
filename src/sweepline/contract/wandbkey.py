"""Whether the W&B client would find an API key. Nothing here reads the key itself, or imports wandb."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping
from pathlib import Path

from sweepline.contract.wandbserver import server_host


def has_wandb_key(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is an API key in the environment or in the netrc file."""
    return find_wandb_key(environ) is not None


def find_wandb_key(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return where the API key is, the name of a variable or the path of a file; None where there is none."""
    if environ.get("WANDB_API_KEY"):
        return "WANDB_API_KEY"
    path = Path(environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return str(path) if netrc.netrc(str(path)).authenticators(server_host(environ)) is not None else None
    except (OSError, ValueError, netrc.NetrcParseError):
        return None
