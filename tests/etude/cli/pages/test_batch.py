"""Every token, target and number of any batch is printed."""

import re
from dataclasses import dataclass

import tiny
import torch
from rich.console import Console
from torch import Tensor

from etude.cli.pages.batch import SHOWN_ROWS, show
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


def printed(batch: object, *, terminal: bool = False) -> str:
    colours = "truecolor" if terminal else None
    console = Console(highlight=False, force_terminal=terminal, width=100, color_system=colours)
    with console.capture() as capture:
        show(batch, tiny.BYTES, console)
    return capture.get()


def test_counts_are_shown_at_the_top_and_for_each_row() -> None:
    lines = printed(mixed()).splitlines()
    assert lines[0] == "Mixed: 2 rows"
    assert "pair.left" in lines[1]
    assert lines[1].endswith("2 x 4: 7 tokens, 3 trained, 1 padding")
    assert re.search(r"pair.right.source +2 x 1: 2 tokens, 0 padding", lines[2])
    assert "  pair.left: 3 tokens, 1 trained, 1 padding" in lines


def test_trained_targets_are_shown_below_their_input_tokens() -> None:
    text = printed(mixed())
    first = text[text.index("pair.left: 4 tokens") :].splitlines()[1:4]
    assert [line[7:].rstrip() for line in first] == [
        "doc    1   2",
        "input  a b c d",
        "target b   y",
    ]
    second = text[text.index("pair.left: 3 tokens") :].splitlines()[1:3]
    assert [line[7:].rstrip() for line in second] == ["input  <bos> e ·", "target       ↵"]


def test_values_per_row_are_shown_with_the_row_and_other_values_once() -> None:
    text = printed(mixed())
    assert text.count("texts: '[one]'") == 1
    assert text.count("scores: 0.5") == text.count("scores: 1.5") == 1
    assert re.search(r"table +\(3, 2\) numbers", text)
    assert re.search(r"total +7\n", text)
    assert "absent" not in text


def test_lines_are_wrapped_without_losing_text() -> None:
    text = "the quick brown fox jumps over the lazy dog " * 6
    long = Targets(
        Inputs(torch.tensor([ids(text)])), torch.tensor([ids(text)]), torch.ones(1, len(text)) > 0
    )
    lines = printed(Pair(long, Inputs(torch.tensor([ids("a")])))).splitlines()
    assert max(map(len, lines)) <= 100
    rows = [
        line for line in lines[: lines.index("  right: 1 tokens, 0 padding")] if " input" in line
    ]
    assert "".join(line[14:].replace(" ", "") for line in rows).replace("·", " ") == text
    starts = [int(line[:6]) for line in rows]
    assert starts == sorted(starts)


def test_colours_are_used_on_terminals_only_and_do_not_change_the_text() -> None:
    coloured = printed(mixed(), terminal=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == printed(mixed())


def test_only_the_first_rows_are_shown() -> None:
    @dataclass
    class Many:
        texts: list[str]

    text = printed(Many(["a", "b", "c", "d", "e"]))
    assert text.startswith("Many: 5 rows")
    assert text.count("texts:") == SHOWN_ROWS


def test_each_token_of_a_character_shows_the_character() -> None:
    tokens = torch.tensor([[*ids("a好"), VOCAB.mask, *ids("好")[:2]]])
    line = printed(Pair(targets(), Inputs(tokens))).partition("  right: ")[2].splitlines()[1]
    assert line[7:].split() == ["input", "a", "好¹", "好²", "好³", "<mask>", "�", "�"]
