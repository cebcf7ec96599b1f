"""Generates text with a model, or labels, tags and vectors with a model that has a trained head.

    etude generate run=outputs/base prompt="The class of" decoding=greedy
    etude generate run=outputs/bert prompt="Return the [MASK] of the list."
    etude generate run=outputs/t5 prompt="Return the <sentinel_0> of the list."
    etude generate run=outputs/t5 prompt="Return" generator=beam generator.beams=8
    etude generate run=outputs/base prompt="Return" generator=speculative generator.draft=outputs/s
    etude generate run=outputs/mdlm prompt="Return the [MASK][MASK] list." generator=diffusion
    etude generate run=outputs/classifier prompt="A fine film."
    etude generate run=outputs/classifier input=texts.txt > answers.jsonl

Decoders continue the prompt, encoders fill [MASK], encoder-decoders transform it. A model with a
chat template answers as the assistant; as_turn=false continues plain text instead. `run` is a run
folder or a Hugging Face folder.
"""

import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from etude.capability import Capability
from etude.cli.predictions import GENERATION, refuse_unused, writes_predictions
from etude.config import composition
from etude.config.capabilities import capabilities_of, check_generator, name_of
from etude.config.command_line import prepare
from etude.config.compatibility import check_extras, total_virtual_tokens
from etude.config.config_file import build_config
from etude.config.registry import build, plugin_of
from etude.config.schema.blocks import StackConfig
from etude.config.schema.generation import GenerationConfig
from etude.errors import ConfigError

if TYPE_CHECKING:  # imports torch: only after all checks
    from etude.formats.model import Model

VERB = "generate"
N_CANDIDATES = 5


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    line = prepare(arguments)
    if line.multirun:
        raise ConfigError("etude generate takes one prompt; -m is only for etude train.")
    composed = composition.compose_one(VERB, line)
    if composed is None:
        return 0
    config = build_config(composed.config, GenerationConfig)
    from etude.formats.model import read_model

    model = read_model(config.run)
    if writes_predictions(config, model):
        return 0
    _refuse_untrained_head(config, model)
    provides = capabilities_of(model.architecture)
    check_extras(config)
    name = name_of(model.architecture)
    check_generator(config.generator, config.decoding, model.architecture, name)
    if Capability.GENERATE in provides or plugin_of(config.generator).declaration.needs:
        _write(config, model, provides)
    elif Capability.BOTH_SIDES in provides:
        _fill(config, model)
    else:
        raise ConfigError(f"{plugin_of(model.architecture).address} cannot generate or fill.")
    return 0


def _refuse_untrained_head(config: GenerationConfig, model: "Model") -> None:
    """Raises ConfigError for a model that was trained for its hidden states alone."""
    objective = model.objective and plugin_of(model.objective)
    if objective and objective.declaration.needs == frozenset({Capability.HIDDEN}):
        raise ConfigError(
            f"run={config.run} writes no text: {objective.address} does not train the LM head.\n"
            "  Name a run that was trained to predict tokens."
        )


def _write(config: GenerationConfig, model: "Model", provides: Collection[Capability]) -> None:
    """Prints each completion; streams it if there is only one."""
    from etude.network.generation import GenerationOptions, Generator, Request, StopStrings
    from etude.objective.randomness import SAMPLE, rng

    model = model.with_turns(config.as_turn)
    reads_source = Capability.SOURCE_TARGET in provides
    prompt = _prompt(config, model, reads_source=reads_source)
    vocab = model.tokenizer.vocab
    is_infilling = Capability.GENERATE not in provides and vocab.mask in prompt
    if is_infilling:
        prompt = vocab.document(prompt[len(vocab.opening) :])
    print(f"prompt: {model.prompt_format}", file=sys.stderr)
    n = min(config.max_new_tokens, _room(model, 1 if reads_source else len(prompt)))
    stop = StopStrings(config.stop, lambda ids: _whole_text(model, ids))
    generator: Generator = build(config.generator, model.tokenizer)
    steps = generator.stream(
        model.network().eval(),
        [Request(prompt, rng(config.seed, SAMPLE, i), n) for i in range(config.n)],
        GenerationOptions(build(config.decoding, model.tokenizer), model.whole_prompt, stop),
    )
    answers: list[list[int]] = [[] for _ in range(config.n)]
    shown = ""
    for tokens in steps:
        for token in tokens:
            answers[token.request].append(token.id)
        if config.n == 1 and not is_infilling:
            shown = _show_more(shown, stop.settled_text(stop.decode(answers[0])))
    for i, answer in enumerate(answers):
        text = stop.before(stop.decode(answer))
        if is_infilling:
            tokens = iter(answer)
            filled = (next(tokens) if token == vocab.mask else token for token in prompt)
            text = model.tokenizer.decode(list(filled))
        print(f"--- {i + 1}\n{text}" if config.n > 1 else text[len(shown) :])
    if (summary := generator.summary()) is not None:
        print(summary, file=sys.stderr)


def _prompt(config: GenerationConfig, model: "Model", *, reads_source: bool) -> Sequence[int]:
    """Returns the prompt's ids in the format of training, with the chat template if it has one."""
    from etude.data import chat_template
    from etude.records import Message

    if model.tokenizer.template is not None:
        messages = [Message("user", config.text)]
        if config.system is not None:
            messages.insert(0, Message("system", config.system))
        return chat_template.prompt(model.tokenizer, messages)
    if config.system is not None:
        raise ConfigError(
            f"system={config.system} has no effect: the prompt is {model.prompt_format}.\n"
            "  Use a model with a chat template, or make the system message part of the prompt."
        )
    vocab = model.tokenizer.vocab
    ids = model.tokenizer.encode_with_mask(config.text).tolist()
    return vocab.source(ids) if reads_source else vocab.prompt(ids)


def _whole_text(model: "Model", ids: Sequence[int]) -> str:
    """Returns the text of a completion without padding and stop tokens, other specials by name."""
    hidden = (model.tokenizer.vocab.pad, *model.tokenizer.vocab.stops)
    return model.tokenizer.decode([i for i in ids if i not in hidden], skip_special=False)


def _show_more(shown: str, text: str) -> str:
    """Prints the new part of a text once its last character is complete; returns the shown text."""
    if not text.startswith(shown) or text.endswith("\N{REPLACEMENT CHARACTER}"):
        return shown
    sys.stdout.write(text[len(shown) :])
    sys.stdout.flush()
    return text


def _fill(config: GenerationConfig, model: "Model") -> None:
    """Prints the text with every mask filled, and the most likely candidates of each mask."""
    import torch

    from etude.network.inputs import Inputs

    refuse_unused(config, GENERATION, "fills [MASK] in the prompt and generates no text")
    tokenizer, vocab = model.tokenizer, model.tokenizer.vocab
    ids = vocab.document(tokenizer.encode_with_mask(config.text).tolist())
    if vocab.mask not in ids:
        raise ConfigError(
            f"prompt={config.text} has no mask.\n  Write [MASK] where text is missing."
        )
    _room(model, len(ids))
    tokens = torch.tensor([ids])
    masked = tokens == vocab.mask
    with torch.no_grad():
        logits = model.network().eval()(Inputs(tokens), masked)
    logits[:, list(vocab.special)] = -torch.inf
    best = logits.softmax(-1).topk(N_CANDIDATES)
    tokens[masked] = best.indices[:, 0]
    print(tokenizer.decode(tokens[0].tolist()))
    masks = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    for i, (probabilities, candidates) in enumerate(masks):
        pieces = zip(tokenizer.pieces(candidates), probabilities, strict=True)
        print(f"[MASK] {i + 1}: " + "  ".join(f"{piece!r} {p:.1%}" for piece, p in pieces))


def _room(model: "Model", n_tokens: int) -> int:
    """Returns how many more tokens fit the model's maximum positions."""
    config = model.architecture
    limit = config.position.max_positions if isinstance(config, StackConfig) else None
    n_tokens += total_virtual_tokens(model.adapter)
    room = sys.maxsize if limit is None else limit - n_tokens
    if room < 0:
        raise ConfigError(
            f"prompt has {n_tokens} tokens, but the model supports at most {limit} positions."
        )
    return room
