"""The laws of each group, in the order in which they are tested."""

from collections.abc import Callable, Mapping, Sequence

from etude.laws import (
    adapter,
    architecture,
    callback,
    data,
    decoding,
    judge,
    objective,
    optimizer,
    reward,
    runs,
    template,
    tokenizer,
)
from etude.laws.trial import Trial
from etude.laws.verdict import Finding

Law = Callable[[Trial], Finding]
RUNS: Sequence[Law] = (
    runs.it_trains,
    runs.cuts_change_nothing,
    runs.a_resumed_run_is_the_same_to_the_bit,
    runs.two_ranks_equal_one,
    runs.speed_beside_a_peer,
)
LEARNS: Sequence[Law] = (
    objective.shapes_and_sums,
    objective.counts_add_up,
    objective.the_example_is_pure,
    objective.gradients_reach_every_parameter,
    objective.overfits_a_batch,
)
SEES: Sequence[Law] = (
    architecture.shapes,
    architecture.gradients_reach_every_weight,
    architecture.causal,
    architecture.sees_both_sides,
    architecture.reads_a_source,
    architecture.cached_equals_uncached,
    architecture.padding_changes_nothing,
    architecture.packed_equals_alone,
    objective.overfits_a_batch,
)
WATCHES: Sequence[Law] = (*RUNS[:-1], callback.it_changes_no_loss)
SUITES: Mapping[str, Sequence[Law]] = {
    "objective": (*LEARNS, *RUNS),
    "architecture": (*SEES, *RUNS),
    "optimizer": (
        optimizer.every_parameter_has_one_rate,
        optimizer.no_gradient_no_step,
        optimizer.its_state_goes_on,
        *RUNS[:-1],
    ),
    "schedule": (
        optimizer.factors_are_finite_and_not_negative,
        optimizer.a_factor_depends_on_its_step_alone,
        optimizer.some_step_learns,
    ),
    "adapter": (
        adapter.it_starts_as_the_base,
        adapter.some_weights_learn_and_get_gradients,
        adapter.switched_off_it_is_the_base,
        adapter.merged_it_says_the_same,
    ),
    "data": (
        data.two_readings_agree,
        data.the_fingerprint_is_steady,
        data.every_record_is_of_its_kind,
        data.both_sides_of_the_split_hold_records,
    ),
    "tokenizer": (
        tokenizer.it_is_the_same_when_made_again,
        tokenizer.special_ids_are_apart,
        tokenizer.text_is_data,
        tokenizer.ids_are_within_the_vocabulary,
        tokenizer.what_it_decodes_has_the_same_ids,
        tokenizer.a_file_keeps_it,
    ),
    "decoding": (
        decoding.every_row_has_something_to_draw,
        decoding.what_is_ruled_out_is_never_chosen,
        decoding.neighbours_change_nothing,
        decoding.logits_are_left_as_they_are,
    ),
    "reward": (
        reward.its_bench_is_judged_right,
        reward.every_answer_gets_one_score,
        reward.neighbours_change_no_score,
    ),
    "judge": (
        judge.every_pair_gets_a_probability,
        judge.the_other_order_is_the_other_verdict,
        judge.what_is_equal_is_a_tie,
        judge.neighbours_change_no_verdict,
    ),
    "template": (
        template.every_answer_is_told_apart,
        template.a_prompt_has_the_ids_that_it_has_in_training,
        template.every_answer_ends,
        template.what_a_message_spells_is_text,
    ),
    "strategy": WATCHES,
    "callback": WATCHES,
    "logger": WATCHES,
}


def suite(group: str) -> Sequence[Law]:
    """Returns the laws of a group; a subgroup of `architecture` has the laws of architectures."""
    return SUITES.get(group) or SUITES[group.partition("/")[0]]


def title(law: Law) -> str:
    """Returns the title of a law."""
    return law.__name__.replace("_", " ")
