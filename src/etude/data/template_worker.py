"""The process that renders chat templates, so that it can be killed; `template_process` starts it.

It imports Jinja, and nothing of étude. Each request is a line of JSON, [template, variables, cuts]:
for each cut [n, before_answer], the first n messages are rendered. The answer is another line,
[[kind, text], ...], which ends at the first text with marked turns. The kernel ends this process if
a text takes too long, and when its parent ends.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jinja2
from jinja2.ext import Extension
from jinja2.nodes import CallBlock
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

OPEN = "\ufdd0"
CLOSE = "\ufdd1"
TEXT, ERROR, TOO_MUCH = "text", "error", "too much"
"""Kinds of answers: the rendered text; why there is none; or what the template used up."""
MEMORY_BYTES = 2**30
TEXT_CHARS = 2**18
CHARS_PER_CHAR = 8
"""A text may have TEXT_CHARS characters, and CHARS_PER_CHAR for each of the request."""
ERROR_CHARS = 300
_PR_SET_PDEATHSIG = 1
_HANDLED_BY_THE_PARENT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class _Generation(Extension):
    """The block `{% generation %}`, which marks its content as an assistant turn."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> CallBlock:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_mark"), [], [], body, lineno=line)

    def _mark(self, caller: Any) -> str:  # Jinja's macro
        return f"{OPEN}{caller()}{CLOSE}"


@lru_cache
def _compile(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _json
    return environment.from_string(template, globals={"raise_exception": _raise_exception})


def _json(
    value: Any,  # any value that a template passes
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _text(template: str, variables: dict[str, Any], limit: int) -> tuple[str, str]:
    """Renders one text, of at most `limit` characters."""
    try:
        text = _compile(template).render(variables)
    except MemoryError:
        return TOO_MUCH, f"{MEMORY_BYTES // 2**20:,} MiB of memory"
    except Exception as error:  # a template may raise any exception
        return ERROR, str(error)[:ERROR_CHARS]
    return (TEXT, text) if len(text) <= limit else (TOO_MUCH, f"{limit:,} characters for a text")


def _answers(line: str) -> Iterator[tuple[str, str]]:
    """Yields the texts of a request."""
    template, variables, cuts = json.loads(line)
    for n, before_answer in cuts:
        cut = {"messages": variables["messages"][:n], "add_generation_prompt": before_answer}
        kind, text = _text(template, variables | cut, TEXT_CHARS + CHARS_PER_CHAR * len(line))
        yield kind, text
        if kind == TOO_MUCH or OPEN in text:
            return


def _confine(parent: int) -> bool:
    """Limits this process and binds it to its parent; returns whether that is still alive."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in _HANDLED_BY_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    memory = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    if sys.platform != "darwin":  # which refuses to set it
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return os.getppid() == parent


def main() -> None:
    """Answers requests until its input ends.

    Arguments: the process id of the parent, and the CPU time, in seconds, of a text, of all texts,
    and what each text adds to the latter.
    """
    is_bound = _confine(int(sys.argv[1]))
    of_one, of_all, of_each = map(float, sys.argv[2:])
    n_texts = 0

    def start_clock() -> None:
        left = of_all + of_each * n_texts - time.process_time()
        if left <= 0:  # the timer counts ticks of some milliseconds, and may miss short texts
            signal.raise_signal(signal.SIGPROF)
        signal.setitimer(signal.ITIMER_PROF, min(of_one, left))

    while is_bound and (line := sys.stdin.readline()):
        answers: list[tuple[str, str]] = []
        start_clock()
        for answer in _answers(line):
            answers.append(answer)
            n_texts += 1
            start_clock()
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
