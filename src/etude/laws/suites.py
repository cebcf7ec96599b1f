"""The laws of each group, in the order in which they are tested."""

from collections.abc import Callable, Mapping, Sequence

from etude.laws import (
    adapter,
    architecture,
    callback,
    data,
    decoding,
    environment,
    evaluator,
    filter,
    generator,
    judge,
    knobs,
    objective,
    optimizer,
    prompting,
    ramp,
    reward,
    runs,
    scorer,
    template,
    tokenizer,
)
from etude.laws.trial import Trial
from etude.laws.verdict import Finding

Law = Callable[[Trial], Finding]
OF_RUNS: Sequence[Law] = (
    runs.it_trains,
    runs.micro_batch_size_changes_nothing,
    runs.resuming_is_bit_identical,
    runs.two_devices_equal_one,
    runs.speed_relative_to_a_peer,
)
OF_OBJECTIVES: Sequence[Law] = (
    objective.shapes_and_sums,
    objective.counts_add_up,
    objective.the_count_is_what_the_loss_sums_over,
    objective.random_tokens_are_not_predicted,
    objective.samples_are_reproducible,
    objective.gradients_reach_every_parameter,
    objective.overfits_a_batch,
    objective.the_reward_rises,
)
OF_ARCHITECTURES: Sequence[Law] = (
    architecture.shapes,
    architecture.gradients_reach_every_weight,
    architecture.causal,
    architecture.bidirectional,
    architecture.reads_a_source,
    architecture.cached_equals_uncached,
    architecture.extra_values_are_read,
    architecture.padding_changes_nothing,
    architecture.packed_equals_separate,
    architecture.dropout_can_be_off,
    objective.overfits_a_batch,
)
OF_CALLBACKS: Sequence[Law] = (*OF_RUNS[:-1], callback.losses_are_unchanged)
SUITES: Mapping[str, Sequence[Law]] = {
    "objective": (*OF_OBJECTIVES, *OF_RUNS),
    "architecture": (*OF_ARCHITECTURES, *OF_RUNS),
    "optimizer": (
        optimizer.every_parameter_is_in_one_group,
        optimizer.every_weight_with_a_gradient_moves,
        optimizer.no_update_without_a_gradient,
        optimizer.its_state_can_be_restored,
        *OF_RUNS[:-1],
    ),
    "schedule": (
        optimizer.factors_are_finite_and_not_negative,
        optimizer.factors_depend_only_on_the_step,
        optimizer.the_peak_is_the_configured_rate,
    ),
    "ramp": (
        ramp.sizes_depend_only_on_the_step,
        ramp.no_size_is_above_the_full_one,
        ramp.it_ends_at_the_full_size,
        *OF_RUNS[:-1],
    ),
    "adapter": (
        adapter.it_starts_as_the_base,
        adapter.trainable_weights_get_gradients,
        adapter.disabled_it_equals_the_base,
        adapter.merging_changes_no_output,
        adapter.answers_learn_to_end,
    ),
    "data": (
        data.records_are_reproducible,
        data.the_fingerprint_is_stable,
        data.a_changed_file_changes_the_fingerprint,
        data.the_parts_of_a_file_have_its_rows,
        data.records_are_of_the_declared_kind,
        data.both_splits_contain_records,
    ),
    "data/record": (
        data.records_are_reproducible,
        data.records_are_of_the_declared_kind,
        data.another_name_of_a_field_changes_nothing,
    ),
    "filter": (
        filter.decisions_are_reproducible,
        filter.decisions_are_about_one_record,
        filter.every_decision_has_its_reason,
        filter.a_changed_record_is_of_the_same_kind,
        filter.filtering_again_changes_nothing,
        filter.the_fingerprint_is_stable,
    ),
    "tokenizer": (
        tokenizer.building_it_is_reproducible,
        tokenizer.special_ids_are_distinct,
        tokenizer.text_is_never_a_special_token,
        tokenizer.ids_are_within_the_vocabulary,
        tokenizer.decoded_text_has_the_same_ids,
        tokenizer.saving_and_loading_changes_nothing,
    ),
    "decoding": (
        decoding.every_row_has_a_finite_score,
        decoding.excluded_tokens_are_never_chosen,
        decoding.rows_do_not_depend_on_the_batch,
        decoding.logits_are_not_modified,
        decoding.a_state_stays_valid_after_it_is_advanced,
    ),
    "generator": (
        generator.completions_are_reproducible,
        generator.completions_do_not_depend_on_the_batch,
        generator.limits_and_stop_tokens_end_a_completion,
    ),
    "reward": (
        reward.its_bench_is_scored_correctly,
        reward.every_answer_gets_one_score,
        reward.scores_do_not_depend_on_the_batch,
    ),
    "judge": (
        judge.every_pair_gets_a_probability,
        judge.swapping_the_answers_flips_the_verdict,
        judge.equal_answers_tie,
        judge.verdicts_do_not_depend_on_the_batch,
    ),
    "environment": (
        environment.its_example_is_replied_to,
        environment.replies_are_reproducible,
        environment.states_survive_a_file,
        environment.only_what_it_declares_is_rewarded,
        environment.ids_are_appended,
        environment.only_own_tokens_are_learned,
        *OF_RUNS[:-1],
    ),
    "template": (
        template.every_answer_has_a_span,
        template.prompts_have_the_same_ids_as_in_training,
        template.every_answer_ends_with_a_stop_token,
        template.messages_cannot_inject_special_tokens,
    ),
    "evaluator": (
        evaluator.every_case_gets_an_item_with_its_values,
        evaluator.items_do_not_depend_on_the_batch_size,
        evaluator.items_do_not_depend_on_the_other_cases,
    ),
    "prompting": (
        prompting.every_prompt_contains_its_question,
        prompting.no_prompt_contains_its_own_answer,
        prompting.prompts_do_not_depend_on_the_order_of_examples,
        prompting.it_chooses_one_of_the_answers,
    ),
    "scorer": (
        scorer.its_bench_is_scored_correctly,
        scorer.every_answer_has_the_values_of_its_metrics,
    ),
    "strategy": OF_CALLBACKS,
    "callback": OF_CALLBACKS,
    "logger": OF_CALLBACKS,
}


def suite(group: str) -> Sequence[Law]:
    """Returns the laws of a group; a subgroup of `architecture` has the laws of architectures."""
    laws = SUITES.get(group) or SUITES[group.partition("/")[0]]
    return (*laws, knobs.every_knob_is_read)


def title(law: Law) -> str:
    """Returns the title of a law."""
    return law.__name__.replace("_", " ")
