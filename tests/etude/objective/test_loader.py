from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.data.source import Take
from etude.objective.loader import EpochSource, Ranks, StepBatch, StepLoader, chunks
from etude.objective.randomness import ROLLOUT, TRAIN, VALIDATION, rng, sample_at

SIZE = 10


def example(record: int, draw: np.random.Generator) -> tuple[int, float]:
    return record, draw.random()


def source(
    global_batch: int = 4, seed: int = 0, ranks: Ranks | None = None, size: int = SIZE
) -> EpochSource:
    return EpochSource(range(size), example, global_batch, seed, ranks or Ranks())  # type: ignore[arg-type]


def read(made: EpochSource, n: int) -> list[StepBatch]:
    return [made.next_step_batch() for _ in range(n)]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**63), n=st.integers(1, 40), global_batch=st.integers(1, 50))
def test_every_epoch_is_a_permutation_of_all_samples(seed: int, n: int, global_batch: int) -> None:
    made = source(global_batch, seed, size=n)
    ids = [i for one in read(made, -(-3 * n // global_batch)) for i in one.ids]
    for epoch in range(3):
        assert sorted(ids[epoch * n : (epoch + 1) * n]) == list(range(n))
    assert made.steps_per_epoch == n / global_batch


def test_the_order_depends_only_on_seed_and_position() -> None:
    order = [sample_at(5, SIZE, position) for position in range(3 * SIZE)]
    assert [sample_at(5, SIZE, position) for position in reversed(range(3 * SIZE))] == order[::-1]
    assert [epoch for epoch, _ in order] == [0] * SIZE + [1] * SIZE + [2] * SIZE
    epochs = [tuple(s for _, s in order[i : i + SIZE]) for i in (0, SIZE, 2 * SIZE)]
    assert len(set(epochs)) == 3
    assert [sample_at(6, SIZE, position)[1] for position in range(SIZE)] != list(epochs[0])


@pytest.mark.parametrize("stop", [0, 1, 3, 7])
def test_loading_a_state_resumes_at_its_position(stop: int) -> None:
    whole = [(w.ids, w.examples) for w in read(source(), 9)]
    before, after = source(), source()
    read(before, stop)
    after.load_state_dict([before.state_dict()])
    assert [(w.ids, w.examples) for w in read(after, 9 - stop)] == whole[stop:]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_ranks_split_a_global_batch(size: int) -> None:
    alone = [(w.ids, w.examples) for w in read(source(), 5)]
    parts = [read(source(ranks=Ranks(rank, size)), 5) for rank in range(size)]
    for (ids, examples), *shares in zip(alone, *parts, strict=True):
        assert [i for share in shares for i in share.ids] == ids
        assert [e for share in shares for e in share.examples] == examples


def test_the_randomness_of_a_sample_does_not_depend_on_the_global_batch_size() -> None:
    by_one = {(w.ids[0], i // SIZE): w.examples[0] for i, w in enumerate(read(source(1), 20))}
    position = 0
    for step in read(source(4), 5):
        for sample, made in zip(step.ids, step.examples, strict=True):
            assert by_one[sample, position // SIZE] == made
            position += 1
    draws = [made[1] for made in by_one.values()]
    assert len(set(draws)) == len(draws)  # other epochs have other random numbers


def test_different_keys_give_different_random_streams() -> None:
    keys = [(0, TRAIN), (0, TRAIN, 0), (0, TRAIN, 0, 0), (0, TRAIN, 1), (0, TRAIN, 1, 0)]
    keys += [
        (0, VALIDATION, 0),
        (0, ROLLOUT, 0),
        (0, ROLLOUT, 1, 0),
        (0, ROLLOUT, 1),
        (1, TRAIN, 0),
    ]
    assert len({rng(*key).random() for key in keys}) == len(keys)
    assert rng(0, TRAIN, 3).random() == rng(0, TRAIN, 3).random()


def loader(micro_batch: int) -> StepLoader[list[Any]]:
    return StepLoader(source(8), list, lambda batch: float(sum(i for i, _ in batch)), micro_batch)


@pytest.mark.parametrize("micro_batch", [8, 4, 3, 1])
def test_every_micro_batch_carries_the_count_of_its_global_batch(micro_batch: int) -> None:
    parts = iter(loader(micro_batch))
    for step in read(source(8), 3):
        total, seen = float(sum(step.ids)), []
        while True:
            part = next(parts)
            assert (part.step_count, part.digest) == (total, step.digest)
            assert part.batch is not None
            seen += part.batch
            if part.is_last:
                break
        assert seen == step.examples
        assert part.index + 1 == part.of == -(-8 // micro_batch)


def test_the_loader_has_a_length_so_that_lightning_does_not_prefetch() -> None:
    assert len(loader(4)) > 2**30


def test_a_digest_depends_on_the_samples_and_their_order() -> None:
    names = [StepBatch([], ids, 0).digest for ids in ([1, 2], [2, 1], [1], [1, 2, 0])]
    assert len(set(names)) == 4
    assert StepBatch(["x"], [1, 2], 4).digest == names[0]


def test_chunks_cover_the_whole_list() -> None:
    assert chunks([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]
    assert chunks([], 3) == []
    assert all(a != b for a, b in pairwise(chunks(range(9), 3)))


def test_take_holds_the_first_samples_only() -> None:
    few = Take(range(10), 3)  # type: ignore[arg-type]
    assert (len(few), list(few)) == (3, [0, 1, 2])  # type: ignore[call-overload]
    assert len(Take(range(2), 3)) == 2  # type: ignore[arg-type]
