"""Laws of tokenizers: reproducible ids, text that stays data, and an exact round trip to a file."""

from itertools import islice

import numpy as np

from etude.config.registry import build
from etude.data.special_tokens import MASK_ALIASES, SPECIAL_TOKENS
from etude.data.tokenizer import Tokenizer
from etude.data.tokenizer_source import TokenizerSource
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "It's 3.14159, isn't it? (No: 22/7.)",
    "def square(x):\n    return x * x\n",
    "床前明月光，疑是地上霜。",
    "naïve café – ½ € 🙂",
)
N_CORPUS = 400


def building_it_is_reproducible(trial: Trial) -> Finding:
    """The same texts give the same tokenizer."""
    one = _build(trial)
    two = _build(trial)
    return holds(one.digest == two.digest, f"{one.vocab.size} ids")


def special_ids_are_distinct(trial: Trial) -> Finding:
    """Every special token has its own id within the vocabulary."""
    vocab = _build(trial).vocab
    ids = [vocab.pad, vocab.unk, vocab.bos, vocab.eos, vocab.mask, vocab.cls, vocab.sep]
    ids += [vocab.turn_start, vocab.turn_end, *vocab.sentinels]
    clear = len(set(ids)) == len(ids) and max(ids) < vocab.size
    return holds(clear, f"{len(set(ids))} ids for {len(ids)} roles")


def text_is_never_a_special_token(trial: Trial) -> Finding:
    """Text that spells a special token is encoded as ordinary characters."""
    tokenizer = _build(trial)
    special = tokenizer.vocab.special - {tokenizer.vocab.unk}
    for text in (*SPECIAL_TOKENS[:9], *MASK_ALIASES):
        if special & set(tokenizer.encode(text).tolist()):
            return broken(f"{text!r} is encoded as a special token")
    return held(f"{len(special)} special tokens")


def ids_are_within_the_vocabulary(trial: Trial) -> Finding:
    """Every id of every text is smaller than the vocabulary size."""
    tokenizer = _build(trial)
    largest = max(int(tokenizer.encode(text).max()) for text in TEXTS)
    return holds(largest < tokenizer.vocab.size, f"largest id {largest} of {tokenizer.vocab.size}")


def decoded_text_has_the_same_ids(trial: Trial) -> Finding:
    """Decoding and encoding again gives the same ids; reports whether the text is unchanged too."""
    tokenizer = _build(trial)
    lost = 0
    for text in TEXTS:
        ids = tokenizer.encode(text)
        if tokenizer.vocab.unk in ids:
            lost += 1
            continue
        decoded = tokenizer.decode(ids.tolist())
        lost += decoded != text
        if not np.array_equal(tokenizer.encode(decoded), ids):
            return broken(f"{text[:30]!r} has {len(ids)} ids; decoded, {decoded[:30]!r}, others")
    return held("lossless" if not lost else f"not lossless: {lost} of {len(TEXTS)} texts change")


def saving_and_loading_changes_nothing(trial: Trial) -> Finding:
    """Saving and loading gives the same tokenizer."""
    tokenizer = _build(trial)
    folder = trial.folder / "tokenizer"
    folder.mkdir(exist_ok=True)
    tokenizer.save(folder)
    read = Tokenizer.load(folder)
    same = all(np.array_equal(tokenizer.encode(text), read.encode(text)) for text in TEXTS)
    return holds(same and tokenizer.vocab == read.vocab, "ids and roles")


def _build(trial: Trial) -> Tokenizer:
    source: TokenizerSource = build(trial.tested)
    texts = [*TEXTS, *islice(trial.corpus.val_text(), N_CORPUS)]
    return source.build(lambda: iter(texts))
