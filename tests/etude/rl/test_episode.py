"""Episodes: what the policy reads and writes, turn by turn, and what is learned of it."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from defaults import default

from etude.config.registry import build
from etude.config.schema.environment import EnvironmentConfig
from etude.data.chat_template import appended, conversation, exchange, question
from etude.data.tokenizer import Tokenizer
from etude.files.run_folder import CHECKPOINTS, MODEL, SUMMARY, untimed_steps
from etude.formats.checkpoint import newest_intact
from etude.network.generation import Generation, Request
from etude.objective.environment import Environment, Reply, State
from etude.records import Chat, Message, Prompt
from etude.rl.episode import Episode, Keys, Play, is_own, reply_ids, targets_of, text_of
from etude.rl.rewards import score_episodes
from etude.training.run import start

TEMPLATES = ("chatml", "gemma", "llama3", "mistral", "plain", "plain_eos")
KEYS = [Keys((0, 2, 0, i), (0, 2, 0)) for i in range(3)]
PROMPTS = [Prompt("q", "a")] * 3


class Echo(Environment[EnvironmentConfig]):
    """Repeats a turn and a random digit; `end` ends the episode."""

    def start(self, prompt: Prompt, rng: np.random.Generator) -> State:
        return {"first": int(rng.integers(10))}

    def example(self, state: State) -> Sequence[str]:
        return ["a", "end"]

    def step(self, state: State, turn: str, rng: np.random.Generator) -> Reply:
        if "end" in turn:
            return Reply(state, None, reward=1.0)
        return Reply(state, f"[{turn}{state['first']}{rng.integers(10)}]", reward=0.5)


@dataclass
class Script:
    """Writes given turns, and keeps the requests."""

    turns: list[str]
    tokenizer: Tokenizer = tiny.BYTES

    def __post_init__(self) -> None:
        self.requests: list[list[Request]] = []

    def __call__(self, requests: Sequence[Request]) -> list[Generation]:
        text = self.turns[len(self.requests)]
        self.requests.append(list(requests))
        ids = self.tokenizer.encode(text).tolist()
        rows = [ids[: request.max_new_tokens] for request in requests]
        return [Generation(row, [0.0] * len(row), len(row) == len(ids)) for row in rows]


def play(script: Script, max_turns: int = 4, room: int = 64) -> list[Episode]:
    environment = Echo(EnvironmentConfig(max_turns=max_turns))
    rows = [question(tiny.BYTES, prompt.prompt) for prompt in PROMPTS]
    return Play(environment, tiny.BYTES, room, script)(PROMPTS, rows, KEYS)


def test_ids_are_appended_and_the_policy_reads_all_that_came_before() -> None:
    script = Script(["hello ", "wo", "end", ""])
    episodes = play(script)
    assert [len(requests) for requests in script.requests] == [3, 3, 3, 0]
    for i, episode in enumerate(episodes):
        (a, b), (c, d) = episode.replies
        for requests, length in zip(script.requests, (0, b, d), strict=False):
            assert requests[i].prompt == [*episode.prompt, *episode.completion[:length]]
            assert requests[i].max_new_tokens == 64 - length
        text = text_of(episode, tiny.BYTES.decode)
        assert text.startswith("hello ⟦[hello ")
        assert text.endswith("⟧end")
        assert tiny.BYTES.decode(episode.last_turn) == "end"
        own = np.array(episode.completion)[is_own(episode)]
        assert own.tolist() == tiny.BYTES.encode("hello woend").tolist()
        assert (a, c - b) == (6, 2)
        assert (episode.is_finished, episode.reward) == (True, 2.0)


def test_a_group_meets_one_environment_and_each_member_draws_its_own_tokens() -> None:
    script = Script(["a", "a", "a", "end"])
    episodes = play(script)
    assert episodes[0].completion == episodes[1].completion == episodes[2].completion
    draws = {tuple(r.rng.random(2)) for requests in script.requests for r in requests}
    assert len(draws) == 12


@pytest.mark.parametrize(("turns", "room"), [(2, 64), (4, 7), (4, 3), (4, 12)])
def test_an_episode_without_a_turn_or_room_for_the_next_is_unfinished(
    turns: int, room: int
) -> None:
    episode = play(Script(["hello", "hello", "end", ""]), turns, room)[0]
    assert not episode.is_finished
    assert len(episode.completion) <= room
    assert episode.last_turn, "it ends with a turn of the policy"


def test_only_the_policys_own_tokens_are_targets() -> None:
    episodes = play(Script(["ab", "c", "end", ""]))
    episodes[1] = Episode(episodes[1].prompt, completion=[200, 201])
    targets = targets_of(episodes, tiny.network(vocab=tiny.BYTES.vocab))
    own = [np.array(e.completion)[is_own(e)].tolist() for e in episodes]
    assert targets.ids[targets.where].tolist() == [token for row in own for token in row]
    assert targets.where.sum(1).tolist() == [6, 2, 6]


def with_template(name: str) -> Tokenizer:
    return build(default(f"template/{name}"), tiny.BYTES)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("role", ["user", "tool"])
def test_a_message_has_the_ids_of_the_whole_conversation(name: str, role: str) -> None:
    tokenizer = with_template(name)
    asked, reply = Message("user", "2+2?"), Message(role, "wrong <eos>")
    answer = Message("assistant", "5")
    if name in ("gemma", "llama3", "mistral") and role == "tool":
        pytest.skip("its template requires users and assistants to alternate, or a call")
    before, written = exchange(tokenizer, "2+2?", "5")
    ids = [*before, *written, *reply_ids(Reply({}, reply.content, role), tokenizer, closed=True)]
    whole = question(tokenizer, Chat((asked, answer, reply)))
    assert ids == whole
    encoded = conversation(tokenizer, (asked, answer, reply, Message("assistant", "4")))
    assert encoded.ids[: len(ids)].tolist() == ids


def test_a_turn_that_a_stop_string_ended_is_closed_before_a_message() -> None:
    tokenizer = with_template("chatml")
    ids = reply_ids(Reply({}, "no", "user"), tokenizer, closed=False)
    text = tokenizer.decode(ids, skip_special=False)
    assert text == "<|im_end|>\n<|im_start|>user\nno<|im_end|>\n<|im_start|>assistant\n"


def test_a_reply_cannot_inject_special_tokens() -> None:
    for tokenizer in (tiny.BYTES, with_template("chatml")):
        ids = appended(tokenizer, "a<eos><|im_end|>b")
        assert not {*ids} & {*tokenizer.vocab.special}
        assert tokenizer.decode(ids) == "a<eos><|im_end|>b"


def test_rewards_read_the_last_turn_and_an_environment_adds_its_own() -> None:
    game = build(default("environment/guess_number"))
    episode = Episode([2], completion=[200, 201, 202], replies=[(1, 2)], reward=0.25)
    seen: list[Any] = []

    def length(prompts: Any, completions: Any, references: Any) -> list[float]:
        seen.extend([*prompts, *completions])
        return [float("nan")]

    tools = tiny.tools(environment=game, reward=length)
    rewards, parts = score_episodes(tools, [Prompt("x")], [episode])
    assert seen == [game.prompt(Prompt("x")).prompt, tiny.BYTES.decode([202])]
    assert rewards.tolist() == [0.25]
    assert not parts
    without = score_episodes(replace(tools, environment=None), [Prompt("x")], [episode])
    assert without[0].isnan().all()


EPISODES = {
    "stop": [chr(i) for i in range(1, 128)],
    "max_new_tokens": 24,
    "temperature": 0.5,
    "group_size": 4,
}


@pytest.mark.parametrize("name", ["grpo", "rloo", "reinforce", "ppo"])
def test_the_trained_policy_is_the_one_that_wrote_the_turns(name: str, tmp_path: Path) -> None:
    """The log-probabilities of all turns, read again in one pass, are those of the loss."""
    config = experiment(name, tmp_path)
    made = tiny.training_parts(config)
    lines = tiny.fit(config, made, tmp_path / "run")
    source: Any = made.loader.source
    assert sum(bool(sample.replies) for sample in source.samples) > 2
    assert lines[0]["ratio"] == pytest.approx(1.0, abs=1e-12)
    own = [int(is_own(sample).sum()) for sample in source.samples]
    assert lines[-1]["response_length"] == pytest.approx(np.mean(own))
    assert [len(sample.log_prob) for sample in source.samples] == own


def experiment(name: str, folder: Path, **given: Any) -> Any:
    """Games in which many turns end soon."""
    trainer = {"max_steps": 2} | given.pop("trainer", {})
    config = tiny.experiment(name, folder, **EPISODES, **given, trainer=trainer)
    data = replace(config.data, seq_len=80)
    game = default("environment/guess_number", highest=9, cost=0.1)
    architecture = tiny.stack(n_layers=1, position="rope")
    return replace(config, data=data, environment=game, architecture=architecture)


def test_a_run_resumes_within_a_rollout_of_episodes_exactly(tmp_path: Path) -> None:
    trainer = {"max_steps": 4, "save_every": 1}
    config = experiment("grpo", tmp_path, batches_per_rollout=2, epochs=2, trainer=trainer)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    start(replace(config, run=str(whole)), "tiny", [])
    shutil.copytree(whole, parts)
    last = newest_intact(parts / CHECKPOINTS)
    assert last is not None
    shutil.rmtree(last)
    (parts / SUMMARY).unlink()
    start(replace(config, run=str(parts)), "tiny", [])
    assert repr(untimed_steps(parts)) == repr(untimed_steps(whole))
    models = [run / MODEL / "model.safetensors" for run in (whole, parts)]
    assert models[0].read_bytes() == models[1].read_bytes()


def test_what_follows_a_reply_is_predicted_from_it() -> None:
    """Changing a reply changes the log-probability of later turns, and of no earlier one."""
    made = tiny.network(tiny.stack(position="rope"), vocab=tiny.BYTES.vocab)
    rows = [Episode([2], completion=[200, 201, reply, 202], replies=[(2, 3)]) for reply in (9, 10)]
    targets = targets_of(rows, made)
    with torch.no_grad():
        log_probs = made(targets.inputs, targets.where).log_softmax(-1)
    first, second = log_probs.gather(1, targets.ids[targets.where][:, None]).view(2, 3)
    assert torch.equal(first[:2], second[:2])
    assert first[2] != second[2]
