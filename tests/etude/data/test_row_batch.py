import pytest

from etude.data import row_batch
from etude.data.row_batch import batches_of
from etude.records import Place, Text


def test_a_place_belongs_to_the_record_after_it_in_batches_of_any_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [row for i in range(5) for row in (Place(f"f:{i}"), Text(str(i)))]
    for n in (1, 2, 3, 100):
        monkeypatch.setattr(row_batch, "BATCH_ROWS", n)
        batches = [*batches_of([*rows, Text("unknown")])]
        places = [place for batch in batches for place in batch.places]
        assert places == [*(f'"f:{i}"\n'.encode() for i in range(5)), b'""\n']
        assert all(len(batch.lines) == len(batch.places) for batch in batches)
