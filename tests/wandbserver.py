"""A stand-in for a W&B server on the loopback interface, for the real client to talk to.

It keeps what the client sends and answers what the client needs to go on. It proves what is sent, not what W&B shows.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

FAKE_KEY = "0123456789" * 4  # the client refuses keys that are shorter
ENTITY = "lab"
Fault = Literal["hang", "500", "429"]
Begin = Literal["at once", "as the client connects", "after the run has begun"]


@dataclass
class SentRun:
    """What has been sent of one run, whichever processes sent it."""

    project: str
    group: str | None = None
    name: str | None = None
    job_type: str | None = None
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Rows by their line number, as the server would keep them."""
    summary: dict[str, Any] = field(default_factory=dict)
    exit_codes: list[int] = field(default_factory=list)
    """One per process that has told its end."""
    is_preempting: bool = False

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> SentRun:
        """Undo :func:`dataclasses.asdict` and the trip through JSON."""
        history = {int(number): row for number, row in fields["history"].items()}
        return cls(**{**fields, "tags": tuple(fields["tags"]), "history": history})

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What was logged, without what the client adds."""
        return [{k: v for k, v in row.items() if not k.startswith("_")} for _, row in sorted(self.history.items())]

    @property
    def values(self) -> dict[str, Any]:
        """The config without what the client adds."""
        return {name: entry["value"] for name, entry in self.config.items() if name != "_wandb"}


class WandbServer:
    """What was sent, and how the server misbehaves: with which fault, and from when on."""

    url = ""

    def __init__(self, *, fault: Fault | None, begin: Begin) -> None:
        self.runs: dict[str, SentRun] = {}
        self.operations: list[str] = []
        self.authorizations: set[str | None] = set()
        self.fault, self._begin = fault, begin
        self._is_failing = begin == "at once"
        self._lock, self.released = threading.Lock(), threading.Event()

    def fault_of(self, path: str, body: bytes) -> Fault | None:
        """Return the fault that a request meets."""
        is_client = self._begin == "as the client connects" and b"operationName" in body
        is_history = self._begin == "after the run has begun" and path.endswith("/file_stream")
        self._is_failing |= is_client or is_history
        return self.fault if self._is_failing else None

    def answer(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Keep what a request sends; return what a server says to it."""
        with self._lock:
            if path.endswith("/file_stream"):
                self._keep_stream(self.runs[path.split("/")[-2]], document)
                return {"limits": {}}
            operation = document.get("operationName", "")
            self.operations.append(operation)
            answer = getattr(self, f"_answer_{operation}", lambda _: {})
            return {"data": answer(document.get("variables") or {})}

    def _answer_Viewer(self, _: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"viewer": {"id": "u", "entity": ENTITY, "username": ENTITY, "flags": "{}", "teams": {"edges": []}}}

    def _answer_RunResumeStatus(self, asked: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self.runs.get(asked["name"])
        bucket = (
            None
            if run is None
            else {
                "id": asked["name"],
                "name": asked["name"],
                "displayName": run.name,
                "historyLineCount": len(run.history),
                "eventsLineCount": 0,
                "logLineCount": 0,
                "historyTail": json.dumps([json.dumps(run.history[max(run.history)])] if run.history else []),
                "eventsTail": "[]",
                "summaryMetrics": json.dumps(run.summary),
                "config": json.dumps(run.config),
                "tags": list(run.tags),
                "wandbConfig": '{"t": 1}',
            }
        )
        return {"model": {"id": "p", "name": asked["project"], "entity": {"id": "e", "name": ENTITY}, "bucket": bucket}}

    def _answer_UpsertBucket(self, sent: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        name, is_new = sent["name"], sent["name"] not in self.runs
        run = self.runs.setdefault(name, SentRun(sent["project"]))
        run.group = sent["groupName"] or run.group
        run.name = sent["displayName"] or run.name
        run.job_type = sent["jobType"] or run.job_type
        run.tags = run.tags if sent["tags"] is None else tuple(sent["tags"])
        run.config = json.loads(sent["config"]) if sent["config"] else run.config
        project = {"id": "p", "name": run.project, "entity": {"id": "e", "name": ENTITY}}
        bucket = {"id": name, "name": name, "displayName": run.name, "config": json.dumps(run.config)}
        return {
            "upsertBucket": {
                "bucket": {**bucket, "historyLineCount": len(run.history), "project": project},
                "inserted": is_new,
            }
        }

    def _answer_CreateRunFiles(self, asked: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in asked["files"]]
        return {"createRunFiles": {"runID": asked["run"], "uploadHeaders": [], "files": files}}

    def _keep_stream(self, run: SentRun, document: Mapping[str, Any]) -> None:
        files = document.get("files", {})
        rows = files.get("wandb-history.jsonl", {"offset": 0, "content": []})
        run.history |= {rows["offset"] + i: json.loads(line) for i, line in enumerate(rows["content"])}
        for line in files.get("wandb-summary.json", {"content": []})["content"]:
            run.summary = json.loads(line)
        run.is_preempting |= document.get("preempting", False)
        if document.get("complete"):
            run.exit_codes.append(document["exitcode"])


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: WandbServer

    def do_POST(self) -> None:
        """Answer one request, or not, as the fault is."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.state.authorizations.add(self.headers.get("Authorization"))
        code, content = 200, b""
        fault = self.state.fault_of(self.path, body)
        if fault == "hang":
            self.state.released.wait()
            self.close_connection = True
            return
        if fault is not None:
            code = int(fault)
        elif self.path == "/graphql" or self.path.endswith("/file_stream"):
            content = json.dumps(self.state.answer(self.path, json.loads(body))).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def wandb_server(*, fault: Fault | None = None, begin: Begin = "at once") -> Iterator[WandbServer]:
    """Have a server listen on a loopback port of its own."""
    state = WandbServer(fault=fault, begin=begin)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Requests", (_Requests,), {"state": state}))
    server.block_on_close = False
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()


@contextmanager
def closed_port() -> Iterator[str]:
    """Hold a loopback port that refuses every connection; return its address."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
