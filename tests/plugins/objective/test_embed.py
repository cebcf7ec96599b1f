"""Text embeddings: InfoNCE over the global batch, against sentence-transformers."""

import json
import math
from pathlib import Path
from typing import Any

import families
import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from etude.network.inputs import Inputs, pad_left, pad_right
from etude.objective.randomness import TRAIN, rng
from etude.plugins.objective._info_nce import info_nce, ranks
from etude.plugins.objective._pooling import Pooling, pooled
from etude.plugins.objective.embed import EmbedBatch
from etude.records import Pair, Preference

RECORDS = [Preference(f"ask {i}", f"say {i} {i}", f"no {i} at all") for i in range(6)]
PAIRS = [Pair(r.prompt, r.chosen) for r in RECORDS]  # type: ignore[arg-type] -- they are strings


def batch_of(made: Any, records: Any) -> EmbedBatch:
    return made.collate([made.example(record, rng(0, TRAIN)) for record in records])


def test_equal_vectors_have_the_loss_of_a_guess() -> None:
    same = torch.ones(5, 3, dtype=torch.float64)
    losses = info_nce(same, same.repeat(2, 1), torch.arange(5), 0.05)
    torch.testing.assert_close(losses, torch.full_like(losses, math.log(10)))
    assert ranks(same, same, torch.arange(5)).tolist() == [5] * 5  # a tie is a miss


def test_orthogonal_vectors_have_the_loss_of_the_closed_form() -> None:
    eye = torch.eye(4, dtype=torch.float64)
    losses = info_nce(eye, eye, torch.arange(4), 0.5)
    torch.testing.assert_close(losses, torch.full_like(losses, math.log(1 + 3 * math.exp(-2))))
    assert ranks(eye, eye, torch.arange(4)).tolist() == [1] * 4


@pytest.mark.parametrize("pad", [pad_left, pad_right])
@pytest.mark.parametrize("pooling", Pooling)
def test_padding_on_either_side_does_not_change_a_vector(pad: Any, pooling: Pooling) -> None:
    rows = [[10, 11, 12], [13, 14, 15, 16, 17]]
    inputs = pad(rows, 0)
    wanted = {
        Pooling.mean: [11.0, 15.0],
        Pooling.cls: [10.0, 13.0],
        Pooling.last: [12.0, 17.0],
    }
    found = pooled(inputs.tokens.double()[..., None], inputs, pooling)
    assert found[:, 0].tolist() == wanted[pooling]


@pytest.mark.parametrize("family", ["encoder_only", "decoder_only", "encoder_decoder"])
def test_the_vector_of_a_text_does_not_depend_on_its_batch(family: str) -> None:
    made = tiny.objective("embed", tiny.network(tiny.stack(family), vocab=tiny.BYTES.vocab))
    together = made.sample_rows(batch_of(made, PAIRS))
    alone = torch.cat([made.sample_rows(batch_of(made, [pair])) for pair in PAIRS])
    tiny.assert_close(together, alone)


def test_the_whole_text_is_read_between_its_special_tokens() -> None:
    made = tiny.objective("embed")
    vocab = tiny.BYTES.vocab
    (query, _, _) = made.example(RECORDS[0], rng(0, TRAIN))
    assert query == vocab.document(tiny.BYTES.encode("ask 0").tolist())
    long = Pair("x" * 40, "y")
    (cut, _) = made.example(long, rng(0, TRAIN))
    assert len(cut) == made.tools.seq_len
    assert cut[-1] == vocab.eos
    assert list(made.cuts(long)) == ["texts cut to fit data.seq_len"]
    assert not list(made.cuts(RECORDS[0]))


class Vectors(nn.Module):
    """Our network as a module of sentence-transformers."""

    def __init__(self, made: Any) -> None:
        super().__init__()
        self.made = made

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        inputs = Inputs(features["input_ids"], features["attention_mask"].long())
        states = self.made.network.states(inputs)
        return {"sentence_embedding": pooled(states, inputs, self.made.config.pooling)}


def peer_features(batch: EmbedBatch) -> list[dict[str, Tensor]]:
    texts = [t for t in (batch.query, batch.positive, batch.negative) if t is not None]
    return [
        {
            "input_ids": text.tokens,
            "attention_mask": torch.ones_like(text.tokens)
            if text.documents is None
            else text.documents,
        }
        for text in texts
    ]


@pytest.mark.slow  # sentence-transformers takes seconds to import
@pytest.mark.parametrize("records", [PAIRS, RECORDS])
@pytest.mark.parametrize("values", [{}, {"symmetric": True}, {"similarity": "dot"}])
def test_loss_and_gradient_agree_with_sentence_transformers(
    records: Any, values: dict[str, Any]
) -> None:
    """With its loss in one batch, and with its cached loss in micro-batches of 2."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import losses
    from sentence_transformers.util import cos_sim, dot_score

    from etude.plugins.objective.embed import Similarity

    similarity = Similarity(values.get("similarity", "cosine"))
    given: dict[str, Any] = values | {"similarity": similarity, "temperature": 0.7}
    made = tiny.objective("embed", **given)
    batch = batch_of(made, records)
    loss = made.loss(batch).total / made.count(batch)
    wanted = gradient_of(made, loss)
    peer = SentenceTransformer(modules=[Vectors(made)], device="cpu")
    options: dict[str, Any] = {
        "scale": 1 / 0.7,
        "similarity_fct": cos_sim if similarity is Similarity.cosine else dot_score,
    }
    if "symmetric" in values:
        options |= {
            "directions": ("query_to_doc", "doc_to_query"),
            "partition_mode": "per_direction",
        }
    unused = torch.zeros(len(records))
    plain = losses.MultipleNegativesRankingLoss(peer, **options)(peer_features(batch), unused)
    cached_loss = losses.CachedMultipleNegativesRankingLoss(peer, mini_batch_size=2, **options)
    cached = cached_loss(peer_features(batch), unused)
    for theirs in (plain, cached):
        torch.testing.assert_close(theirs, loss, rtol=0.0, atol=1e-10)
        torch.testing.assert_close(gradient_of(made, theirs), wanted, rtol=0.0, atol=1e-10)


def gradient_of(made: Any, loss: Tensor) -> Tensor:
    made.zero_grad()
    loss.backward(retain_graph=True)
    return torch.cat([p.grad.flatten() for p in made.parameters() if p.grad is not None])


def test_matryoshka_trains_the_first_values_as_vectors_of_their_own() -> None:
    made = tiny.objective("embed", matryoshka=[4, 8])
    batch = batch_of(made, PAIRS)
    rows = made.sample_rows(batch)
    places = torch.arange(len(PAIRS))
    wanted = [
        F.cross_entropy(
            F.cosine_similarity(rows[:, None, 0, :n], rows[None, :, 1, :n], dim=-1) / 0.05, places
        )
        for n in (4, 8, 16)
    ]
    found = made.loss(batch).total / len(PAIRS)
    torch.testing.assert_close(found, torch.stack(wanted).mean())


def test_validation_searches_the_whole_split_however_it_is_cut(tmp_path: Path) -> None:
    found: list[dict[str, float]] = []
    for cut in (1, 4):
        config = tiny.experiment("embed", tmp_path, trainer={"micro_batch": cut, "max_steps": 1})
        made = tiny.training_parts(config)
        (line,) = tiny.fit(config, made, tmp_path / str(cut))
        found.append({k: v for k, v in line.items() if k.startswith("val/")})
    assert found[0] == pytest.approx(found[1], rel=1e-12)
    samples = made.validation.samples
    objective = made.objective.eval()
    with torch.no_grad():
        rows = objective.sample_rows(batch_of(objective, [samples[i] for i in range(len(samples))]))
    queries, positives = F.normalize(rows[:, 0], dim=-1), F.normalize(rows[:, 1], dim=-1)
    scores = queries @ positives.T
    places = (scores >= scores.diagonal()[:, None]).sum(1)
    assert found[0]["val/mrr"] == pytest.approx(float((1 / places).mean()))
    assert found[0]["val/recall_at_1"] == pytest.approx(float((places == 1).double().mean()))


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["bert", "llama"])
def test_the_exported_folder_gives_the_same_vectors_in_transformers(
    preset: str, tmp_path: Path
) -> None:
    from transformers import AutoModel

    from etude.formats.model import read_model
    from etude.training.run import start

    run = tmp_path / "run"
    architecture = families.architecture(preset)
    config = tiny.experiment("embed", tmp_path, architecture=architecture)
    config.run = str(run)
    start(config, "tiny", [])
    model = read_model(str(run))
    theirs = AutoModel.from_pretrained(run / "model").double().eval()
    ids = torch.tensor([model.tokenizer.vocab.document(model.tokenizer.encode("abc").tolist())])
    with torch.no_grad():
        ours = model.network().double().eval().states(Inputs(ids)).mean(1)
        wanted = theirs(ids).last_hidden_state.mean(1)
    torch.testing.assert_close(ours, wanted, rtol=0.0, atol=1e-6)
    assert json.loads((run / "model" / "config.json").read_text())["model_type"] == preset


@pytest.mark.parametrize(
    ("key", "value"),
    [("temperature", 0.0), ("matryoshka", [0]), ("matryoshka", [8, 8])],
)
def test_values_outside_their_range_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key):
        tiny.part("objective", "embed", **{key: value})


def test_settings_that_do_not_fit_the_architecture_are_refused() -> None:
    with pytest.raises(ValueError, match=r"smaller than architecture\.dim=16"):
        tiny.part("objective", "embed", matryoshka=[16]).check(tiny.stack())
    config = tiny.part("objective", "embed", pooling=Pooling.cls)
    with pytest.raises(ValueError, match=r"pooling=cls has no effect"):
        config.check(tiny.stack("encoder_decoder"))


def test_each_shown_pair_has_its_similarity() -> None:
    (shown,) = tiny.objective("embed").show(PAIRS[:1])
    assert shown.startswith("ask 0\n  [")
    assert shown.endswith("] say 0 0")
