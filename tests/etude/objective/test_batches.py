from pathlib import Path

import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from tool_chats import CHATML, template_of

from etude.objective.batches import (
    COMPLETIONS_CUT,
    PROMPTS_CUT,
    completion_ids,
    n_tokens,
    preference_batch,
    preference_example,
    prompt_ids,
)
from etude.records import Chat, Message, Preference

BOS, EOS = tiny.BYTES.vocab.bos, tiny.BYTES.vocab.eos
SIDES = ("chosen", "rejected")
texts = st.text(alphabet="abc", max_size=20)


@settings(max_examples=200, deadline=None)
@given(prompt=texts, completion=texts, seq_len=st.integers(2, 30))
def test_a_prompt_and_its_completion_are_truncated_away_from_their_boundary(
    prompt: str, completion: str, seq_len: int
) -> None:
    before, after, cuts = completion_ids(tiny.BYTES, prompt, completion, seq_len)
    assert len(before) + len(after) <= seq_len + 1
    assert before[0] == BOS
    assert completion.startswith(tiny.BYTES.decode(after))
    assert prompt.endswith(tiny.BYTES.decode(before))
    assert len(before) >= min(len(prompt) + 1, seq_len // 2)
    assert (PROMPTS_CUT in cuts) == (tiny.BYTES.decode(before) != prompt)
    assert (COMPLETIONS_CUT in cuts) == (after[-1] != EOS)
    assert bool(cuts) == (len(prompt) + len(completion) + 2 > seq_len + 1)


def test_a_prompt_is_truncated_at_the_start() -> None:
    assert prompt_ids(tiny.BYTES, "abcdef", 3) == [BOS, *tiny.BYTES.encode("ef")]
    assert prompt_ids(tiny.BYTES, "ab", 3) == [BOS, *tiny.BYTES.encode("ab")]
    assert prompt_ids(tiny.BYTES, "ab", 1) == [BOS]


@settings(max_examples=100, deadline=None)
@given(prompt=texts, chosen=texts, rejected=texts)
def test_both_completions_follow_the_same_prompt_and_one_is_cut_only_for_its_own_length(
    prompt: str, chosen: str, rejected: str
) -> None:
    example = preference_example(tiny.BYTES, Preference(prompt, chosen, rejected), 12)
    room = 13 - len(example.prompt)
    assert len(example.prompt) >= min(len(prompt) + 1, 6)
    for text, side in ((chosen, example.chosen), (rejected, example.rejected)):
        assert list(side) == [*tiny.BYTES.encode(text), EOS][:room]


def test_a_conversation_and_its_completions_have_the_tokens_of_trl(tmp_path: Path) -> None:
    """In UltraFeedback's form; TRL also keeps the line break after the end of the turn."""
    from transformers import AutoTokenizer
    from trl.data_utils import apply_chat_template, extract_prompt

    before = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    sides = {name: [*before, {"role": "assistant", "content": name}] for name in SIDES}
    chat = Chat(tuple(Message(**row) for row in before))  # type: ignore[arg-type]
    for name in ("qwen2_5", "qwen3", "llama3"):
        tokenizer = tiny.BYTES.with_template(template_of(name), CHATML)
        tokenizer.save(tmp_path / name)
        theirs = AutoTokenizer.from_pretrained(tmp_path / name)
        texts = apply_chat_template(extract_prompt(sides), theirs)  # type: ignore[arg-type]
        example = preference_example(tokenizer, Preference(chat, *SIDES), 900)
        prompt, chosen = (
            theirs(texts[side], add_special_tokens=False)["input_ids"]
            for side in ("prompt", "chosen")
        )
        assert list(example.prompt) == prompt
        assert list(example.chosen) == chosen[: len(example.chosen)]
        assert theirs.decode(chosen[len(example.chosen) :]).strip() == ""


def test_the_token_count_of_a_batch_ignores_padding() -> None:
    made = tiny.network(vocab=tiny.BYTES.vocab)
    examples = [
        preference_example(tiny.BYTES, Preference("ab" * n, "c", "d" * n), 30) for n in (1, 3, 5)
    ]
    alone = sum(n_tokens(preference_batch([example], made)) for example in examples)
    assert n_tokens(preference_batch(examples, made)) == alone
