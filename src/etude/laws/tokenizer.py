"""Laws of tokenizers: reproducible ids, text that stays data, and an exact round trip to a file."""

from itertools import islice

import numpy as np

from etude.config.registry import build
from etude.data.tokenizer import MASK_ALIASES, SPECIAL_TOKENS, Tokenizer, TokenizerSource
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


def it_is_the_same_when_made_again(trial: Trial) -> Finding:
    """The same texts give the same tokenizer."""
    one = _made(trial)
    two = _made(trial)
    return holds(one.digest == two.digest, f"{one.vocab.size} ids")


def special_ids_are_apart(trial: Trial) -> Finding:
    """Every special token has its own id, within the vocabulary."""
    vocab = _made(trial).vocab
    named = [vocab.pad, vocab.unk, vocab.bos, vocab.eos, vocab.mask, vocab.cls, vocab.sep]
    named += [vocab.turn_start, vocab.turn_end, *vocab.sentinels]
    clear = len(set(named)) == len(named) and max(named) < vocab.size
    return holds(clear, f"{len(set(named))} ids for {len(named)} roles")


def text_is_data(trial: Trial) -> Finding:
    """Text that spells a special token is encoded as ordinary characters."""
    made = _made(trial)
    special = made.vocab.special - {made.vocab.unk}
    for text in (*SPECIAL_TOKENS[:9], *MASK_ALIASES):
        if special & set(made.encode(text).tolist()):
            return broken(f"{text!r} becomes the special token it spells")
    return held(f"{len(special)} special tokens")


def ids_are_within_the_vocabulary(trial: Trial) -> Finding:
    """Every id of every text is smaller than the vocabulary size."""
    made = _made(trial)
    largest = max(int(made.encode(text).max()) for text in TEXTS)
    return holds(largest < made.vocab.size, f"largest id {largest} of {made.vocab.size}")


def what_it_decodes_has_the_same_ids(trial: Trial) -> Finding:
    """Decoding and encoding again gives the same ids; reports whether the text is unchanged too."""
    made = _made(trial)
    lost = 0
    for text in TEXTS:
        ids = made.encode(text)
        if made.vocab.unk in ids:
            lost += 1
            continue
        again = made.decode(ids.tolist())
        lost += again != text
        if not np.array_equal(made.encode(again), ids):
            return broken(f"{text[:30]!r} has {len(ids)} ids, and decoded {again[:30]!r} others")
    return held("lossless" if not lost else f"not lossless: {lost} of {len(TEXTS)} texts change")


def a_file_keeps_it(trial: Trial) -> Finding:
    """Saving and loading gives the same tokenizer."""
    made = _made(trial)
    folder = trial.folder / "tokenizer"
    folder.mkdir(exist_ok=True)
    made.save(folder)
    read = Tokenizer.load(folder)
    same = all(np.array_equal(made.encode(text), read.encode(text)) for text in TEXTS)
    return holds(same and made.vocab == read.vocab, "ids and roles")


def _made(trial: Trial) -> Tokenizer:
    source: TokenizerSource = build(trial.tried)
    texts = [*TEXTS, *islice(trial.corpus.val_text(), N_CORPUS)]
    return source.build(lambda: iter(texts))
