import pytest
import weights


def test_every_matrix_and_table_has_one_standard_deviation() -> None:
    made = weights.initialised("normal", values={"std": 0.3})
    found = [linear.weight for linear in weights.maps(made).values()]
    for weight in [*found, *weights.tables(made), made.head.out.weight]:
        weights.assert_std(weight, 0.3)


def test_biases_are_0_and_norms_1() -> None:
    weights.assert_biases_are_0_and_norms_1(weights.initialised("normal"))


def test_the_standard_deviation_must_be_positive() -> None:
    with pytest.raises(ValueError, match="std must be positive"):
        weights.initialised("normal", values={"std": 0.0})
