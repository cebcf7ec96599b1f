"""A template that needs too much time or memory is refused as a whole, and leaves no process."""

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from etude.data import template_process, template_worker
from etude.data.rendering import TemplateError, render
from etude.data.template_process import RefusedTemplateError, rendered

MESSAGES = [{"role": "user", "content": "a"}]
LOOP = "{% for a in range(10**5) %}{% for b in range(10**5) %}{% endfor %}{% endfor %}"
GREEDY = {
    "a power": "{{ 9**(9**9) }}",
    "a power of variables": "{% set a = 9 %}{{ a**(a**a) }}",
    "loops": LOOP,
    "generated words": "{% for a in range(10**5) %}{{ lipsum(n=1000) }}{% endfor %}",
    "repetition": "{{ ('a' * 10**10) | length }}",
    "a list": "{% set a = [0] * (3 * 10**8) %}",
    "doubling": "{% set n = namespace(s='a' * 99) %}{% for i in range(40) %}"
    "{% set n.s = n.s + n.s %}{% endfor %}",
    "a width": "{{ '%2000000000d' | format(1) }}",
    "a width of str.format": "{{ '{:>2000000000}'.format(1) }}",
    "a centred text": "{{ 'a' | center(2 * 10**9) }}",
    "a join": "{{ range(10**5) | map('string') | join('x' * 10**5) }}",
    "replacement": "{{ ('a' * 10**6) | replace('a', 'a' * 10**5) }}",
    "long output": "{{ 'a ' * 10**6 }}",
}


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A worker with a small limit of time, or others that are set."""
    template_process._idle.cache_clear()
    template_process._refused.cache_clear()
    monkeypatch.setattr(template_process, "TEXT_S", 0.3)
    yield monkeypatch
    template_process._idle.cache_clear()


@pytest.mark.parametrize("template", GREEDY.values(), ids=[*GREEDY])
def test_a_template_that_needs_too_much_is_refused(
    template: str, limited: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RefusedTemplateError, match="needs more than"):
        render(template, MESSAGES, {})
    began = time.monotonic()
    with pytest.raises(RefusedTemplateError, match="needs more than"):
        render(template, [*MESSAGES, *MESSAGES], {})
    assert time.monotonic() - began < 0.1, "it was tried again"


@pytest.mark.parametrize(
    "template",
    [
        "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
        "{{ raise_exception('x' * 10**6) }}",
        "{{ range(10**9) }}",
    ],
)
def test_an_error_of_a_template_is_short_and_that_of_a_conversation(template: str) -> None:
    with pytest.raises(TemplateError) as failure:
        render(template, MESSAGES, {})
    assert len(str(failure.value)) < 400
    assert render("{{ messages[0].content }}", MESSAGES, {}) == "a"


def test_the_text_may_grow_with_the_conversation() -> None:
    content = "a" * 10**6
    long = [{"role": "user", "content": content}]
    assert render("{{ messages[0].content * 5 }}", long, {}) == content * 5


def test_all_texts_together_have_a_time_limit(limited: pytest.MonkeyPatch) -> None:
    limited.setattr(template_process, "ALL_S", 0.3)
    limited.setattr(template_process, "MEAN_S", 0.0)
    loop = "{% for a in range(30000) %}{% endfor %}"
    n_texts = 0

    def render_all() -> None:
        nonlocal n_texts
        for n_texts in range(1000):  # noqa: B007 -- it is used below
            render(loop, MESSAGES, {})

    with pytest.raises(RefusedTemplateError, match="on average"):
        render_all()
    assert n_texts > 0


def test_a_conversation_is_rendered_in_one_request() -> None:
    template = "{{ messages | length }}{{ '+' if add_generation_prompt }}"
    variables = {"messages": MESSAGES * 3}
    cuts = [(3, False), (0, True), (1, False)]
    assert rendered(template, variables, cuts) == ["3", "0+", "1"]


def test_a_worker_starts_fast_since_it_imports_nothing_of_etude() -> None:
    tree = ast.parse(Path(template_worker.__file__).read_text())
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [
        one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names
    ]
    assert "jinja2" in modules
    assert not [name for name in modules if name.startswith("etude")]


def test_a_worker_that_was_killed_between_two_texts_is_replaced() -> None:
    assert render("b", MESSAGES, {}) == "b"
    for worker in template_process._idle():
        worker.process.kill()
        worker.process.wait()
    assert render("b", MESSAGES, {}) == "b"


def test_an_interrupted_text_is_not_taken_for_that_of_the_next_conversation() -> None:
    assert render("c", MESSAGES, {}) == "c"

    def interrupt(number: int, frame: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(InterruptedError):
            render(LOOP + "other", MESSAGES, {})
    finally:
        signal.signal(signal.SIGALRM, before)
    assert render("d", MESSAGES, {}) == "d"


def test_a_fork_renders_with_a_worker_of_its_own() -> None:
    assert render("e", MESSAGES, {}) == "e"
    child = os.fork()
    if child == 0:
        os._exit(render("f", MESSAGES, {}) != "f")
    assert os.waitpid(child, 0)[1] == 0
    assert render("g", MESSAGES, {}) == "g"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends it on Linux alone")
def test_a_worker_ends_with_its_parent_even_while_it_renders() -> None:
    code = (
        "import os, threading, time; from etude.data import template_process as t;"
        "t.rendered('a', {'messages': []}, [(0, False)]); w = t._idle()[0].process;"
        "w.stdin.write(t.json.dumps([os.environ['LOOP'], {'messages': []}, [(0, False)]]) + '\\n');"
        "w.stdin.flush(); print(w.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ | {"LOOP": LOOP}
    )
    assert parent.stdout is not None
    with parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    ended = time.monotonic() + 1
    while Path(f"/proc/{worker}").exists() and time.monotonic() < ended:
        time.sleep(0.01)
    assert not Path(f"/proc/{worker}/exe").exists()
