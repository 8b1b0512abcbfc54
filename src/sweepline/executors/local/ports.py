"""A free TCP port for every slot, so that runs at one time do not meet on a default one. Listens on none itself."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator

FIRST_PORT, N_PORTS = 20_000, 9_000  # below the ports that systems hand out, beside 29500, which programs fall back to

_ALL = frozenset(range(FIRST_PORT, FIRST_PORT + N_PORTS))
_N_USUAL, _N_TRIED = 64, 1000


class Ports:
    """Chooses ports: the same for a run each time while it is free, never one that another slot has now."""

    def __init__(self) -> None:
        self._of_slot: dict[int, int] = {}
        self._chosen: set[int] = set()

    def choose(self, run_id: str, slot: int) -> int:
        """Return a port for a run that starts in a slot; what the slot had before is free again."""
        self._chosen.discard(self._of_slot.pop(slot, 0))
        port = next((port for port in self._candidates(run_id) if _is_free(port)), FIRST_PORT)
        self._chosen.add(port)
        self._of_slot[slot] = port
        return port

    def _candidates(self, run_id: str) -> Iterator[int]:
        """Yield the ports that no slot has: first those that this run would have each time."""
        start = zlib.crc32(run_id.encode())
        usual = (FIRST_PORT + (start + i) % N_PORTS for i in range(_N_USUAL))
        yield from (port for port in usual if port not in self._chosen)
        yield from itertools.islice(_ALL - self._chosen, _N_TRIED)


def _is_free(port: int) -> bool:
    import socket  # a twentieth of a dry run's time, which needs it for other programs alone

    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
