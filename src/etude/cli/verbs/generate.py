"""Generates text with a model: continues a prompt, fills its masks, or transforms it.

    etude generate run=outputs/base prompt="The class of" decoding=greedy
    etude generate run=outputs/bert prompt="Return the [MASK] of the list."
    etude generate run=outputs/t5 prompt="Return the <sentinel_0> of the list."
    etude generate run=outputs/t5 prompt="Return" generator=beam generator.beams=8
    etude generate run=outputs/base prompt="Return" generator=speculative generator.draft=outputs/s
    etude generate run=outputs/mdlm prompt="Return the [MASK][MASK] list." generator=diffusion
    etude generate run=outputs/base prompt="7 + 5 =" prompting=few_shot data=arithmetic

Decoders continue the prompt, encoders fill [MASK], encoder-decoders transform it. A model with a
chat template answers as the assistant; as_turn=false continues plain text instead. `run` is a run
folder or a Hugging Face folder.
"""

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from etude.capability import Capability
from etude.config import composition
from etude.config.capabilities import capabilities_of, check_generator, name_of
from etude.config.command_line import prepare
from etude.config.compatibility import check_extras, total_virtual_tokens
from etude.config.config_file import build_config
from etude.config.registry import build, plugin_of
from etude.config.schema.blocks import StackConfig
from etude.config.schema.effect import as_typed
from etude.config.schema.generation import GenerationConfig
from etude.errors import ConfigError

if TYPE_CHECKING:  # imports torch: only after all checks
    from etude.formats.model import Model
    from etude.network.generation import GeneratedToken, Generation, StopStrings

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
    from etude.cli.question import Question
    from etude.network.generation import GenerationOptions, Generator, Request, StopStrings
    from etude.objective.randomness import SAMPLE, rng

    question = Question.of(config)
    model = model.with_turns(config.as_turn)
    reads_source = Capability.SOURCE_TARGET in provides
    prompt = question.ids(model, reads_source=reads_source)
    vocab = model.tokenizer.vocab
    is_infilling = Capability.GENERATE not in provides and vocab.mask in prompt
    if is_infilling:
        prompt = vocab.document(prompt[len(vocab.opening) :])
    print(f"prompt: {model.prompt_format}", file=sys.stderr)
    n = min(config.max_new_tokens, _room(model, 1 if reads_source else len(prompt)))
    stop = StopStrings(question.stop, lambda ids: _whole_text(model, ids))
    generator: Generator = build(config.generator, model.tokenizer)
    steps = generator.stream(
        model.network().eval(),
        [Request(prompt, rng(config.seed, SAMPLE, i), n) for i in range(question.n)],
        GenerationOptions(build(config.decoding, model.tokenizer), model.whole_prompt, stop),
    )
    written, shown = _collect(steps, question.n, None if is_infilling else stop)
    texts = [stop.before(stop.decode(row.ids)) for row in written]
    if is_infilling:
        fills = [iter(row.ids) for row in written]
        filled = [[next(fill) if i == vocab.mask else i for i in prompt] for fill in fills]
        texts = list(map(model.tokenizer.decode, filled))
    for i, text in enumerate(texts):
        print(f"--- {i + 1}\n{text}" if question.n > 1 else text[len(shown) :])
    if (verdict := question.verdict(texts, written)) is not None:
        print(verdict)
    if (summary := generator.summary()) is not None:
        print(summary, file=sys.stderr)


def _collect(
    steps: "Iterable[list[GeneratedToken]]", n: int, stop: "StopStrings | None"
) -> tuple[list["Generation"], str]:
    """Returns all completions, and the text of the only one that was streamed with `stop`."""
    from etude.network.generation import Generation

    written = [Generation() for _ in range(n)]
    shown = ""
    for token in (token for tokens in steps for token in tokens):
        written[token.request].ids.append(token.id)
        written[token.request].log_probs.append(token.log_prob)
        if n == 1 and stop is not None:
            shown = _show_more(shown, stop.settled_text(stop.decode(written[0].ids)))
    return written, shown


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

    from etude.cli.question import Question
    from etude.network.inputs import Inputs

    _refuse_unused(config)
    tokenizer, vocab = model.tokenizer, model.tokenizer.vocab
    prompt = Question.of(config).text
    ids = vocab.document(tokenizer.encode_with_mask(prompt).tolist())
    if vocab.mask not in ids:
        raise ConfigError(f"prompt={prompt} has no mask.\n  Write [MASK] where text is missing.")
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


def _refuse_unused(config: GenerationConfig) -> None:
    """Raises ConfigError if a knob that only affects generation differs from its default."""
    if config.prompting.n_completions > 1:
        raise ConfigError(
            f"prompting={name_of(config.prompting)} votes, but {config.run} only fills [MASK].\n"
            "  Use prompting=few_shot or zero_shot."
        )
    for name in ("as_turn", "system", "max_new_tokens", "n", "stop", "seed"):
        value = vars(config)[name]
        if value != vars(GenerationConfig())[name]:
            raise ConfigError(
                f"{name}={as_typed(value)} has no effect: {config.run} fills [MASK] in the prompt "
                "and generates no text."
            )


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
