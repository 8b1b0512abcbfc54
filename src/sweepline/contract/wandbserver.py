"""Whether W&B's server would answer a run that goes online now. No key is sent, and wandb is not imported."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

DEFAULT_URL = "https://api.wandb.ai"
_QUESTION = b'{"query": "{ __typename }"}'
_TOO_MANY_REQUESTS, _FIRST_SERVER_ERROR = 429, 500
_LOOPBACK = ("localhost", "127.", "::1")


def server_url(environ: Mapping[str, str] = os.environ) -> str:
    """Return the server's address, without a slash at its end."""
    return (environ.get("WANDB_BASE_URL") or DEFAULT_URL).rstrip("/")


def server_host(environ: Mapping[str, str] = os.environ) -> str:
    """Return the name of the server's machine, and nothing else that its address may hold."""
    return urlsplit(server_url(environ)).hostname or ""


def find_server_fault(environ: Mapping[str, str] = os.environ, *, timeout_s: float) -> str | None:
    """Return what keeps runs from going online, in a few words; None where the server answers, or it cannot be told.

    Any answer counts, a refusal too, unless it says that the server is overloaded (429) or broken (5xx): then the
    client would ask again and again, and in the end fail the run.
    """
    found: list[str | None] = []
    # In a thread of its own: no timeout covers looking up a name.
    thread = threading.Thread(target=lambda: found.append(_ask(server_url(environ), timeout_s)), daemon=True)
    thread.start()
    thread.join(timeout_s)
    return found[0] if found else f"no answer within {timeout_s:g} s"


def _ask(url: str, timeout_s: float) -> str | None:
    import http.client
    import ssl
    import urllib.error
    import urllib.request

    silence = f"no answer within {timeout_s:g} s"
    headers = {"Content-Type": "application/json", "User-Agent": "sweepline"}
    try:
        # As the client does, which asks no proxy for this machine's own addresses.
        is_here = (urlsplit(url).hostname or "").startswith(_LOOPBACK)
        opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_here else []))
        request = urllib.request.Request(f"{url}/graphql", data=_QUESTION, headers=headers)
        with opener.open(request, timeout=timeout_s):
            return None
    except urllib.error.HTTPError as error:
        is_fault = error.code == _TOO_MANY_REQUESTS or error.code >= _FIRST_SERVER_ERROR
        return f"HTTP {error.code}" if is_fault else None
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, ssl.SSLError):  # there is a server, and the client may know its certificate
            return None
        return silence if isinstance(reason, TimeoutError) else getattr(reason, "strerror", None) or str(reason)
    except TimeoutError:
        return silence
    except (ValueError, http.client.InvalidURL):  # an address that only the client understands, and may hold a password
        return None
    except http.client.HTTPException:
        return "its answer is no HTTP"
    except OSError as error:
        return error.strerror or type(error).__name__
