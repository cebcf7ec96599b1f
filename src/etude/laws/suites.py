"""Which laws each group is held to, in the order in which they are tried."""

from collections.abc import Callable, Mapping, Sequence

from etude.laws import (
    adapting,
    choosing,
    coding,
    comparing,
    judged,
    learning,
    reading,
    running,
    seeing,
    speaking,
    stepping,
    watching,
)
from etude.laws.finding import Finding
from etude.laws.trial import Trial

Law = Callable[[Trial], Finding]
RUNS: Sequence[Law] = (
    running.it_trains,
    running.cuts_change_nothing,
    running.a_resumed_run_is_the_same_to_the_bit,
    running.two_ranks_equal_one,
    running.speed_beside_a_peer,
)
LEARNS: Sequence[Law] = (
    learning.shapes_and_sums,
    learning.counts_add_up,
    learning.the_example_is_pure,
    learning.gradients_reach_every_parameter,
    learning.overfits_a_batch,
)
SEES: Sequence[Law] = (
    seeing.shapes,
    seeing.gradients_reach_every_weight,
    seeing.causal,
    seeing.sees_both_sides,
    seeing.reads_a_source,
    seeing.cached_equals_uncached,
    seeing.padding_changes_nothing,
    seeing.packed_equals_alone,
    learning.overfits_a_batch,
)
WATCHES: Sequence[Law] = (*RUNS[:-1], watching.it_changes_no_loss)
SUITES: Mapping[str, Sequence[Law]] = {
    "objective": (*LEARNS, *RUNS),
    "architecture": (*SEES, *RUNS),
    "optimizer": (
        stepping.every_parameter_has_one_rate,
        stepping.no_gradient_no_step,
        stepping.its_state_goes_on,
        *RUNS[:-1],
    ),
    "schedule": (
        stepping.factors_are_finite_and_not_negative,
        stepping.a_factor_depends_on_its_step_alone,
        stepping.some_step_learns,
    ),
    "adapter": (
        adapting.it_starts_as_the_base,
        adapting.some_weights_learn_and_get_gradients,
        adapting.switched_off_it_is_the_base,
        adapting.merged_it_says_the_same,
    ),
    "data": (
        reading.two_readings_agree,
        reading.the_fingerprint_is_steady,
        reading.every_record_is_of_its_kind,
        reading.both_sides_of_the_split_hold_records,
    ),
    "tokenizer": (
        coding.it_is_the_same_when_made_again,
        coding.special_ids_are_apart,
        coding.text_is_data,
        coding.ids_are_within_the_vocabulary,
        coding.what_it_decodes_has_the_same_ids,
        coding.a_file_keeps_it,
    ),
    "decoding": (
        choosing.every_row_has_something_to_draw,
        choosing.what_is_ruled_out_is_never_chosen,
        choosing.neighbours_change_nothing,
        choosing.logits_are_left_as_they_are,
    ),
    "reward": (
        judged.its_bench_is_judged_right,
        judged.every_answer_gets_one_score,
        judged.neighbours_change_no_score,
    ),
    "judge": (
        comparing.every_pair_gets_a_probability,
        comparing.the_other_order_is_the_other_verdict,
        comparing.what_is_equal_is_a_tie,
        comparing.neighbours_change_no_verdict,
    ),
    "template": (
        speaking.every_answer_is_told_apart,
        speaking.a_prompt_has_the_ids_that_it_has_in_training,
        speaking.every_answer_ends,
        speaking.what_a_message_spells_is_text,
    ),
    "strategy": WATCHES,
    "callback": WATCHES,
    "logger": WATCHES,
}


def suite(group: str) -> Sequence[Law]:
    """The laws of a group; a part of a network is held to those of a whole one."""
    return SUITES.get(group) or SUITES[group.partition("/")[0]]


def title(law: Law) -> str:
    """What a law is called."""
    return law.__name__.replace("_", " ")
