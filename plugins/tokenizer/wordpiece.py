"""WordPiece: splits words from the left into the longest known pieces; ## marks inner ones.

Schuster & Nakajima 2012; as used in BERT, Devlin et al. 2018, https://arxiv.org/abs/1810.04805.
Deviations: pieces are learned by merging the most frequent pair, as in `tokenizers`, and case is
kept by default. Not lossless: white space becomes one space, and a word with a character outside
the vocabulary becomes unknown. Each Chinese character is a word.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from etude import plugin, require
from etude.config import TrainedTokenizerConfig
from etude.data import Tokenizer, TokenizerSource, reserved_tokens

N_ASCII = 2 * 95
"""Printable ASCII characters, at the start of words and inside."""
INNER = "##"


@dataclass
class WordpieceConfig(TrainedTokenizerConfig):
    lowercase: bool = False
    """Fold case and strip accents, as in bert-base-uncased."""

    def __post_init__(self) -> None:
        super().__post_init__()
        n_special = len(reserved_tokens(self.n_sentinels))
        require(
            self.vocab_size >= n_special + N_ASCII,
            f"vocab_size must be at least {n_special + N_ASCII} ({n_special} special tokens and "
            f"ASCII, at the start of words and inside), got {self.vocab_size}",
        )


def alphabet(words: Counter[str], size: int) -> list[str]:
    """The most frequent characters, at most `size`; word-initial ones plain, inner ones marked."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        counts[word[0]] += count
        for character in word[1:]:
            counts[INNER + character] += count
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    return sorted(ranked[:size])


def covered_words(words: Iterable[str], known: set[str]) -> Iterator[str]:
    """The words that consist only of known characters."""
    for word in words:
        if word[0] in known and all(INNER + character in known for character in word[1:]):
            yield word


@plugin(WordpieceConfig)
class Wordpiece(TokenizerSource[WordpieceConfig]):
    """Fixes the order of the alphabet before training, because the trainer orders it at random."""

    def build(self, corpus: Callable[[], Iterator[str]]) -> Tokenizer:
        fold = self.config.lowercase
        normalizer = normalizers.BertNormalizer(lowercase=fold, strip_accents=fold)
        splitter = pre_tokenizers.BertPreTokenizer()
        words: Counter[str] = Counter()
        for text in corpus():
            words.update(w for w, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
        special = reserved_tokens(self.config.n_sentinels)
        characters = alphabet(words, self.config.vocab_size - len(special))
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.config.vocab_size,
            special_tokens=[*special, *characters],
            continuing_subword_prefix=INNER,
            show_progress=False,
        )
        inner = tokenizers.Tokenizer(models.WordPiece(unk_token="<unk>"))
        inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        inner.train_from_iterator(covered_words(words.elements(), set(characters)), trainer=trainer)
        vocabulary = inner.get_vocab(with_added_tokens=False)
        inner = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
        inner.normalizer = normalizer
        inner.pre_tokenizer = splitter
        inner.decoder = decoders.WordPiece(prefix=INNER, cleanup=False)
        return Tokenizer(inner)
