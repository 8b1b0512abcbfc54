"""Whether the W&B client would find an API key. Nothing here reads the key itself, or imports wandb."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit


def has_wandb_key(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is an API key in the environment or in the netrc file."""
    if environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    path = Path(environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return netrc.netrc(str(path)).authenticators(host) is not None
    except (OSError, ValueError, netrc.NetrcParseError):
        return False
