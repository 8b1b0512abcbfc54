"""Whether runs of other programs go online: W&B's server is asked now and then, and its absence costs no run."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sweepline.engine.wandbfallback import OfflineFallback

OFFLINE = {"WANDB_MODE": "offline"}
URL = {"WANDB_BASE_URL": "https://me:canary@wandb.lab.example:8443"}


class Server:
    """A server that is up or down, and a clock, both set by hand."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self.now_s, self.n_asked = 0.0, 0

    def find_fault(self, environ: Mapping[str, str], *, timeout_s: float) -> str | None:
        assert environ["WANDB_BASE_URL"]
        assert timeout_s <= 5
        self.n_asked += 1
        return self.fault

    def now(self) -> float:
        return self.now_s


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def fallback(server: Server) -> OfflineFallback:
    return OfflineFallback(find_fault=server.find_fault, now=server.now)


def test_runs_go_online_while_the_server_answers_and_nothing_is_said(fallback: OfflineFallback) -> None:
    assert fallback.mode(URL) == {}
    assert fallback.take_notes() == []


def test_runs_are_kept_offline_while_the_server_has_a_fault(fallback: OfflineFallback, server: Server) -> None:
    server.fault = "HTTP 500"
    assert fallback.mode(URL) == OFFLINE


def test_a_fault_is_said_once_and_without_what_else_an_address_holds(fallback: OfflineFallback, server: Server) -> None:
    server.fault = "HTTP 500"
    fallback.mode(URL)
    server.now_s = 61
    fallback.mode(URL)
    assert fallback.take_notes() == [
        "W&B cannot be reached (wandb.lab.example: HTTP 500): runs that start now are kept offline"
    ]
    assert fallback.take_notes() == []


def test_runs_go_online_again_once_the_server_answers(fallback: OfflineFallback, server: Server) -> None:
    server.fault = "HTTP 500"
    fallback.mode(URL)
    fallback.take_notes()
    server.fault, server.now_s = None, 61
    assert fallback.mode(URL) == {}
    assert fallback.take_notes() == ["W&B answers again: runs that start now are online"]


@pytest.mark.parametrize(("now_s", "n_asked"), [(59.0, 1), (60.0, 2)])
def test_the_server_is_asked_at_most_once_a_minute(
    fallback: OfflineFallback, server: Server, now_s: float, n_asked: int
) -> None:
    fallback.mode(URL)
    server.now_s = now_s
    fallback.mode(URL)
    assert server.n_asked == n_asked


@pytest.mark.parametrize("mode", ["online", "offline", "disabled", "shared"])
def test_a_mode_that_is_set_stays_and_nobody_is_asked(fallback: OfflineFallback, server: Server, mode: str) -> None:
    server.fault = "HTTP 500"
    assert fallback.mode({**URL, "WANDB_MODE": mode}) == {}
    assert server.n_asked == 0
