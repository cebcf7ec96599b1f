"""Asks a server over HTTP: JSON there, JSON back; tried again while that may help.

A key is read from an environment variable when it is used. It is never part of a config, an
error or a log, and does not follow a redirect to another place.
"""

import json
import os
import time
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from etude.config.schema.plugins import require
from etude.errors import ConfigError, ServerError

PASSING = (408, 429, 500, 502, 503, 504)
"""Status codes after which the same question may yet be answered."""
LONGEST_PAUSE_S = 60.0
SHOWN = 200
"""Characters of a server's words in an error."""


@dataclass(frozen=True)
class Server:
    """Where to ask, and how patiently."""

    url: str
    timeout_s: float
    retries: int
    key_variable: str | None = None
    """The environment variable that holds the key, which is sent as a bearer token."""
    pause_s: float = 1.0
    """Before the first retry; each further one waits twice as long."""

    def ask(self, question: Any) -> Any:
        """Returns the answer. Raises ServerError when none comes, or one that is not JSON."""
        request = Request(self.url, json.dumps(question).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        if self.key_variable is not None:
            request.add_unredirected_header("Authorization", f"Bearer {_key(self.key_variable)}")
        reason = ""
        for attempt in range(self.retries + 1):
            try:
                with urlopen(request, timeout=self.timeout_s) as answer:
                    return json.load(answer)
            except HTTPError as error:
                with error:
                    words = error.read(SHOWN).decode(errors="replace").strip()
                reason = f"{error.code} {error.reason}: {words}"
                if error.code not in PASSING:
                    break
            except (OSError, HTTPException) as error:  # no connection, cut off, too slow
                reason = str(error) or type(error).__name__
            except ValueError as error:
                reason = f"it is not JSON ({error})"
                break
            if attempt < self.retries:
                time.sleep(min(LONGEST_PAUSE_S, self.pause_s * 2**attempt))
        raise ServerError(f"{self.url} gave no answer that can be used: {reason}.")


def check_server(url: str, timeout_s: float, retries: int) -> None:
    """Raises ValueError for what no config may hold; a password in a URL would be kept in clear."""
    parts = urlsplit(url)
    require(
        parts.scheme in ("http", "https") and bool(parts.hostname),
        f"url must begin with http:// or https:// and name a server, got {url}",
    )
    require(parts.username is None, "url holds a user name; a run keeps its config in clear")
    require(timeout_s > 0, f"timeout_s must be positive, got {timeout_s}")
    require(retries >= 0, f"retries must be 0 or more, got {retries}")


def _key(variable: str) -> str:
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(f"The environment variable {variable}, which is to hold a key, is empty.")
    return key
