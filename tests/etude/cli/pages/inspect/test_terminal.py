"""Every token, target and number of any batch is printed."""

import re
from dataclasses import dataclass

import tiny
import torch
from rich.console import Console
from torch import Tensor

from etude.cli.pages.inspect.panels import panel_counts
from etude.cli.pages.inspect.terminal import show
from etude.cli.pages.inspect.view import Sample, Step, rows_of
from etude.network.inputs import Inputs, Targets

VOCAB = tiny.BYTES.vocab


@dataclass
class Pair:
    """A batch nested in another one."""

    left: Targets
    right: Inputs


@dataclass
class Mixed:
    """A batch with every kind of field."""

    pair: Pair
    texts: list[str]
    scores: Tensor
    table: Tensor
    total: Tensor
    absent: Tensor | None = None


def ids(text: str) -> list[int]:
    return tiny.BYTES.encode(text).tolist()


def targets() -> Targets:
    tokens = torch.tensor([ids("abcd"), [VOCAB.bos, *ids("e "), VOCAB.pad]])
    documents = torch.tensor([[1, 1, 2, 2], [1, 1, 1, 0]])
    where = torch.tensor([[True, False, True, False], [False, True, False, False]])
    labels = torch.tensor([ids("bxyz"), ids("p\nrs")])
    return Targets(Inputs(tokens, documents), labels, where)


def mixed() -> Mixed:
    right = Inputs(torch.tensor([ids("uv"), ids("wx")]), source=Inputs(torch.tensor([[40], [41]])))
    pair = Pair(targets(), right)
    return Mixed(
        pair, ["[one]", "two"], torch.tensor([0.5, 1.5]), torch.ones(3, 2), torch.tensor(7)
    )


def step(batch: object) -> Step:
    """A step of one sample, whose rows are those of the batch."""
    sample = Sample("sample 1 of 1", 3.0, *rows_of(batch, tiny.BYTES, {}), ["prompts cut"])
    return Step(1, 1, 3.0, "tokens", panel_counts([batch]), [sample], [], ["not used  2: [why]"])


def printed(batch: object, *, terminal: bool = False) -> str:
    colours = "truecolor" if terminal else None
    console = Console(highlight=False, force_terminal=terminal, width=100, color_system=colours)
    with console.capture() as capture:
        show(step(batch), console)
    return capture.get()


def test_counts_are_shown_at_the_top_and_for_each_row() -> None:
    lines = printed(mixed()).splitlines()
    assert lines[0] == "step 1: 1 samples in 1 micro-batches"
    assert "pair.left" in lines[1]
    trained = "3 trained (42.9%), 1 padding (12.5%)"
    assert lines[1].endswith(f"2 rows, 7 tokens, {trained}")
    assert lines[2].split() == [
        "pair.right.source",
        "2",
        "rows,",
        "2",
        "tokens,",
        "0",
        "padding",
        "(0.0%)",
    ]
    assert "  the loss is divided by 3 tokens" in lines
    assert "  not used  2: [why]" in lines
    assert "  cut: prompts cut" in lines
    assert "  pair.left: 3 tokens, 1 trained" in lines


def test_trained_targets_are_shown_below_their_input_tokens_and_documents_above() -> None:
    text = printed(mixed())
    first = text[text.index("pair.left: 4 tokens") :].splitlines()
    shown = [line[7:].rstrip() for line in first if line[7:10] in ("doc", "inp", "tar")][:3]
    assert shown == [
        "doc    1@0   2@0",
        "input  a   b c   d",
        "target b     y",
    ]
    second = text[text.index("pair.left: 3 tokens") :].splitlines()
    shown = [line[7:].rstrip() for line in second if line[7:10] in ("inp", "tar")][:2]
    assert shown == ["input  <bos> e ·", "target       ↵"]


def test_values_per_row_are_shown_with_the_row_and_other_values_once() -> None:
    text = printed(mixed())
    assert text.count("texts: '[one]'") == 1
    assert text.count("scores: 0.5") == text.count("scores: 1.5") == 1
    assert "  table: 1, 1, 1, 1, 1, 1\n" in text
    assert "  total: 7\n" in text
    assert "absent" not in text


def test_lines_are_wrapped_without_losing_text() -> None:
    text = "the quick brown fox jumps over the lazy dog " * 6
    long = Targets(
        Inputs(torch.tensor([ids(text)])), torch.tensor([ids(text)]), torch.ones(1, len(text)) > 0
    )
    lines = printed(Pair(long, Inputs(torch.tensor([ids("a")])))).splitlines()
    assert max(map(len, lines)) <= 100
    rows = [line.partition(" │")[0] for line in lines if line[7:12] == "input"]
    assert "".join(line[14:].replace(" ", "") for line in rows).replace("·", " ") == text
    starts = [int(line[:6]) for line in rows]
    assert starts == sorted(starts)


def test_two_sides_are_shown_next_to_each_other() -> None:
    one, other = (Inputs(torch.tensor([ids(text)])) for text in ("abc", "xyz"))

    @dataclass
    class Sides:
        chosen: Inputs
        rejected: Inputs

    lines = printed(Sides(one, other)).splitlines()
    assert any("chosen: 3 tokens" in line and "rejected: 3 tokens" in line for line in lines)
    assert any("a b c" in line and "x y z" in line for line in lines)


def test_colours_are_used_on_terminals_only_and_do_not_change_the_text() -> None:
    coloured = printed(mixed(), terminal=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == printed(mixed())
