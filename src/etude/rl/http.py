"""A JSON client over HTTP that retries transient errors.

The API key is read from an environment variable when it is used. It is never part of a config, an
error or a log, and is not sent to the target of a redirect.
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

TRANSIENT = (408, 429, 500, 502, 503, 504)
"""Status codes after which a retry may succeed."""
LONGEST_PAUSE_S = 60.0
SHOWN = 200
"""Characters of a server's response quoted in an error."""


@dataclass(frozen=True)
class Server:
    """A server's address, with timeout and retries."""

    url: str
    timeout_s: float
    retries: int
    key_variable: str | None = None
    """Environment variable with the API key, which is sent as a bearer token; None = no key."""
    pause_s: float = 1.0
    """Wait before the first retry, in seconds; doubles with each further one."""

    def post(self, body: Any) -> Any:
        """Posts JSON and returns the JSON response. Raises ServerError if there is none."""
        request = Request(self.url, json.dumps(body).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        if self.key_variable is not None:
            request.add_unredirected_header("Authorization", f"Bearer {_key(self.key_variable)}")
        reason = ""
        for attempt in range(self.retries + 1):
            try:
                with urlopen(request, timeout=self.timeout_s) as response:
                    return json.load(response)
            except HTTPError as error:
                with error:
                    text = error.read(SHOWN).decode(errors="replace").strip()
                reason = f"{error.code} {error.reason}: {text}"
                if error.code not in TRANSIENT:
                    break
            except (OSError, HTTPException) as error:  # no connection, dropped, timed out
                reason = str(error) or type(error).__name__
            except ValueError as error:
                reason = f"the response is not JSON ({error})"
                break
            if attempt < self.retries:
                time.sleep(min(LONGEST_PAUSE_S, self.pause_s * 2**attempt))
        raise ServerError(f"{self.url} returned no usable response: {reason}.")


def check_server(url: str, timeout_s: float, retries: int) -> None:
    """Raises ValueError for invalid values, and for a URL with credentials: configs are saved."""
    parts = urlsplit(url)
    require(
        parts.scheme in ("http", "https") and bool(parts.hostname),
        f"url must start with http:// or https:// and contain a host name, got {url}",
    )
    require(parts.username is None, "url must not contain credentials: runs save their config")
    require(timeout_s > 0, f"timeout_s must be positive, got {timeout_s}")
    require(retries >= 0, f"retries must be 0 or more, got {retries}")


def _key(variable: str) -> str:
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(f"key_variable={variable}: the environment variable is not set.")
    return key
