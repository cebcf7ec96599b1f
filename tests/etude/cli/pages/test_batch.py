"""Every token, target and number of a batch is shown, whatever the batch is called."""

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
    """Stands inside another batch."""

    left: Targets
    right: Inputs


@dataclass
class Strange:
    """Fields of every kind there is."""

    pair: Pair
    said: list[str]
    worth: Tensor
    table: Tensor
    total: Tensor
    absent: Tensor | None = None


def ids(text: str) -> list[int]:
    return tiny.BYTES.encode(text).tolist()


def targets() -> Targets:
    tokens = torch.tensor([ids("abcd"), [VOCAB.bos, *ids("e "), VOCAB.pad]])
    documents = torch.tensor([[1, 1, 2, 2], [1, 1, 1, 0]])
    where = torch.tensor([[True, False, True, False], [False, True, False, False]])
    due = torch.tensor([ids("bxyz"), ids("p\nrs")])
    return Targets(Inputs(tokens, documents), due, where)


def strange() -> Strange:
    right = Inputs(torch.tensor([ids("uv"), ids("wx")]), source=Inputs(torch.tensor([[40], [41]])))
    pair = Pair(targets(), right)
    return Strange(
        pair, ["[one]", "two"], torch.tensor([0.5, 1.5]), torch.ones(3, 2), torch.tensor(7)
    )


def shown(batch: object, *, terminal: bool = False) -> str:
    colours = "truecolor" if terminal else None
    console = Console(highlight=False, force_terminal=terminal, width=100, color_system=colours)
    with console.capture() as capture:
        show(batch, tiny.BYTES, console)
    return capture.get()


def test_counts_stand_on_top_and_beside_each_row() -> None:
    lines = shown(strange()).splitlines()
    assert lines[0] == "Strange: 2 rows"
    assert "pair.left" in lines[1]
    assert lines[1].endswith("2 x 4: 7 tokens, 3 trained, 1 padding")
    assert re.search(r"pair.right.source +2 x 1: 2 tokens, 0 padding", lines[2])
    assert "  pair.left: 3 tokens, 1 trained, 1 padding" in lines


def test_what_is_due_stands_below_what_is_given_where_it_counts_and_nowhere_else() -> None:
    text = shown(strange())
    first = text[text.index("pair.left: 4 tokens") :].splitlines()[1:4]
    assert [line[7:].rstrip() for line in first] == ["doc  1   2", "sees a b c d", "due  b   y"]
    second = text[text.index("pair.left: 3 tokens") :].splitlines()[1:3]
    assert [line[7:].rstrip() for line in second] == ["sees <bos> e ·", "due        ↵"]


def test_a_row_is_shown_with_all_that_belongs_to_it_and_any_other_number_once() -> None:
    text = shown(strange())
    assert text.count("said: '[one]'") == text.count("worth: 0.5") == text.count("worth: 1.5") == 1
    assert re.search(r"table +\(3, 2\) numbers", text)
    assert re.search(r"total +7\n", text)
    assert "absent" not in text


def test_lines_are_cut_to_fit_and_lose_nothing() -> None:
    text = "the quick brown fox jumps over the lazy dog " * 6
    long = Targets(
        Inputs(torch.tensor([ids(text)])), torch.tensor([ids(text)]), torch.ones(1, len(text)) > 0
    )
    found = shown(Pair(long, Inputs(torch.tensor([ids("a")])))).splitlines()
    assert max(map(len, found)) <= 100
    rows = [
        line for line in found[: found.index("  right: 1 tokens, 0 padding")] if " sees" in line
    ]
    assert "".join(line[12:].replace(" ", "") for line in rows).replace("·", " ") == text
    starts = [int(line[:6]) for line in rows]
    assert starts == sorted(starts)


def test_colour_is_for_terminals_and_the_words_are_the_same() -> None:
    coloured = shown(strange(), terminal=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == shown(strange())


def test_only_the_first_rows_are_shown() -> None:
    @dataclass
    class Many:
        texts: list[str]

    text = shown(Many(["a", "b", "c", "d", "e"]))
    assert text.startswith("Many: 5 rows")
    assert text.count("texts:") == SHOWN_ROWS


def test_a_character_of_several_tokens_is_shown_by_each_of_them() -> None:
    tokens = torch.tensor([[*ids("a好"), VOCAB.mask, *ids("好")[:2]]])
    line = shown(Pair(targets(), Inputs(tokens))).partition("  right: ")[2].splitlines()[1]
    assert line[7:].split() == ["sees", "a", "好¹", "好²", "好³", "<mask>", "�", "�"]
