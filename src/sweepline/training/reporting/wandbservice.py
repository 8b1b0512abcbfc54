"""The one place that changes a private name of W&B: how long it waits before it looks for its service again."""

from __future__ import annotations

import time

LONGEST_WAIT_S = 0.005


def shorten_wait() -> None:
    """Have W&B look every 5 ms whether its service is ready.

    It is after some 20 ms, and W&B looks every 200. Where W&B waits differently nothing is changed.
    """
    try:
        from wandb.sdk.lib.service import service_port_file
    except ImportError:  # another version, which waits as it likes
        return
    if hasattr(service_port_file, "_SLEEP"):
        service_port_file._SLEEP = lambda seconds: time.sleep(min(seconds, LONGEST_WAIT_S))
