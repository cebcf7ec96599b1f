import numpy as np
import tiny

from etude.config.registry import build
from etude.data.token_rows import TokenRow, cut_row
from etude.objective.batches import next_token_batch
from etude.objective.step_size import StepSize


def row(n: int = 17) -> TokenRow:
    documents = np.array([1] * 6 + [2] * (n - 6))
    return TokenRow(np.arange(100, 100 + n), documents, 30.0)


def test_rows_double_in_equal_stages() -> None:
    ramp = build(tiny.part("ramp", "length", start=4, steps=6))
    lengths = [ramp(step, StepSize(8, 32)).length for step in range(8)]
    assert lengths == [4, 4, 8, 8, 16, 16, 32, 32]


def test_the_last_stage_may_be_shorter_than_a_doubling() -> None:
    ramp = build(tiny.part("ramp", "length", start=4, steps=2))
    assert [ramp(step, StepSize(8, 12)).length for step in range(3)] == [4, 8, 12]


def test_cut_rows_predict_the_same_tokens_once_each() -> None:
    whole = next_token_batch([row()], pad=0, intra_document=False)
    cut = next_token_batch(cut_row(row(), 5), pad=0, intra_document=False)
    assert cut.targets.ids[cut.targets.where].tolist() == (
        whole.targets.ids[whole.targets.where].tolist()
    )
    assert float(cut.n_bytes) == float(whole.n_bytes)
    assert cut.targets.inputs.n_tokens == whole.targets.inputs.n_tokens


def test_each_cut_row_is_shorter_and_its_documents_count_from_1() -> None:
    rows = cut_row(row(), 5)
    assert [len(one.tokens) for one in rows] == [6, 6, 6, 2]
    assert [one.documents.tolist() for one in rows] == [[1] * 6, [1] + [2] * 5, [1] * 6, [1] * 2]


def test_a_row_of_one_token_stays_as_it_is() -> None:
    (one,) = cut_row(TokenRow(np.array([3]), np.array([1]), 0.0), 5)
    assert one.tokens.tolist() == [3]
