"""The page is self-contained, and shows every token with what is known of it."""

import re
from dataclasses import dataclass

import tiny
import torch

from etude.cli.pages.inspect.page import page
from etude.cli.pages.inspect.panels import panel_counts
from etude.cli.pages.inspect.view import Sample, Step, rows_of
from etude.network.inputs import Inputs, Targets


@dataclass
class Batch:
    """One row with targets."""

    targets: Targets


def made() -> str:
    tokens = torch.tensor([tiny.BYTES.encode("<i>&好").tolist()])
    where = torch.ones(tokens.shape) > 0
    where[0, 0] = False
    batch = Batch(Targets(Inputs(tokens), tokens, where))
    rows = rows_of(batch, tiny.BYTES, {"kl": torch.zeros(6)})
    sample = Sample("sample 1 of 1", 6.0, *rows, ["cut <b>"])
    counts = panel_counts([batch])
    return page(
        Step(1, 1, 6.0, "tokens", counts, [sample], ["sample <1>"], ["not used"]), "data <x>"
    )


def test_the_page_needs_no_network_and_escapes_every_text() -> None:
    text = made()
    assert not re.search(r"(src|href)=.(?!data:)", text)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert "<script" not in text
    for raw in ("cut <b>", "sample <1>", "data <x>"):
        assert raw not in text
    assert "cut &lt;b&gt;" in text


def test_each_token_has_its_target_numbers_and_a_title() -> None:
    text = made()
    assert text.count('<div class="token text" title=') == 6
    assert text.count('<div class="token idle" title=') == 1
    assert "target: &amp; (id " in text
    assert "kl: 0" in text
    assert "The loss is divided by 6 tokens." in text
