"""Recognises secrets in text, so that none reaches a file, a log, a tracker or an error message.

Shapes: credentials in a URL, and published prefixes of API keys, as GitHub scans for them
(https://docs.github.com/en/code-security/secret-scanning). A config that contains one is refused;
text that leaves the process in another way, such as an error, is redacted.
"""

import re
from typing import Final

_SECRET: Final = re.compile(
    "|".join(
        (
            r"(?<=//)[^\s/@:]*:[^\s/@]+(?=@)",  # user:password@host
            r"(?<=http://)[^\s/?#@]+(?=@)|(?<=https://)[^\s/?#@]+(?=@)",  # token@host
            r"(?i:[?&;#][\w.-]*(?:token|secret|passw(?:or)?d|signature|api[_-]?key|access[_-]?key)"
            r"=[^&\s'\"]+|[?&;#](?:key|sig|auth|code)=[^&\s'\"]{8,})",
            r"\b(?:hf|gh[pousr]|github_pat|gsk|npm|r8|[sr]k_(?:live|test)|wandb_v\d)_\w{16,}",
            r"\b(?:sk|glpat|xox[a-z]|pypi)-(?:[a-z]+\d*-)*\w{10,}[\w-]*",
            r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{30,}",
            r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+",  # a JSON web token
            r"(?i:\bbearer\s+[\w.~+/-]{16,})",
            r"-----BEGIN [A-Z ]*PRIVATE KEY",
            r"(?i:\bpassw(?:or)?d=[^\s,'\"&]+)",
            r"(?i:\b(?:\w*_)?(?:key|token|secret|password)(?:_\w+)?['\"]?\s*[=:]\s*['\"]?"
            r"(?:local-)?[0-9a-f]{32,})",  # a W&B key, which has no prefix, after its name
        )
    )
)
_KEY_NAME: Final = re.compile(r"(?i)(?:^|_)(?:api_?key|key|token|secret|passw(?:or)?d)(?:_|$)")
_KEY: Final = re.compile(r"(?=\S*\d)(?=\S*[a-z])[\w+/=.-]{20,}")
HINT: Final = (
    "Runs save their config as plain text. Leave it out, and put it where the library that needs "
    "it looks for it, such as an environment variable or ~/.netrc."
)


def is_secret(text: str, name: str = "") -> bool:
    """Whether a text contains a secret; in a field such as `api_key`, any long random text is."""
    is_key = _KEY_NAME.search(name.rpartition(".")[2]) and _KEY.fullmatch(text)
    return bool(is_key or _SECRET.search(text))


def redacted(text: str) -> str:
    """The text with `***` in place of each secret."""
    return _SECRET.sub("***", text)
