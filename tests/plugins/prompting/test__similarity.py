"""The private module `_similarity` against scikit-learn."""

import unicodedata

import numpy as np
import pytest
from prompts import CHINESE, SUMS
from sklearn.feature_extraction.text import TfidfVectorizer

from etude.plugins.prompting._similarity import Similarity

TEXTS = [str(one.prompt) for one in (*SUMS, *CHINESE)]


def test_the_cosines_are_those_of_scikit_learn() -> None:
    vectors = TfidfVectorizer(
        analyzer="char",
        ngram_range=(1, 3),
        preprocessor=lambda text: unicodedata.normalize("NFKC", text).casefold(),
    )
    theirs = vectors.fit_transform(TEXTS)
    ours = Similarity(TEXTS)
    for one in (*TEXTS, "12 + 99 = ?", "首都是什么", "zzz"):
        wanted = (vectors.transform([one]) @ theirs.T).toarray()[0]
        np.testing.assert_allclose(ours.to(one), wanted, atol=1e-12)


def test_case_width_and_white_space_do_not_matter() -> None:
    made = Similarity(["Two words", "other"])
    assert made.to("two   WORDS")[0] == pytest.approx(1)
    assert made.to("Ｔｗｏ　words")[0] == pytest.approx(1)
