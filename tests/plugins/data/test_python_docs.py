from itertools import pairwise

import pytest

from etude.config.registry import build
from etude.plugins.data import _stdlib_text
from etude.plugins.data.docs_chat import AGAIN, DocsChatConfig
from etude.plugins.data.docs_pairs import DocsPairsConfig
from etude.plugins.data.docs_preferences import DocsPreferencesConfig
from etude.plugins.data.python_docs import PythonDocsConfig


@pytest.mark.slow
def test_there_is_enough_text_without_duplicates() -> None:
    texts = [record.text for record in build(PythonDocsConfig()).records()]
    assert len(texts) == len(set(texts)) > 5000
    assert sum(map(len, texts)) > 1_000_000
    assert all(text.strip() for text in texts)


@pytest.mark.slow
def test_consecutive_documents_are_not_sorted() -> None:
    texts = [record.text for record in build(PythonDocsConfig()).records()]
    rising = sum(a < b for a, b in pairwise(texts)) / len(texts)
    assert rising == pytest.approx(0.5, abs=0.05)


def test_the_language_reference_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _stdlib_text.fingerprint()
    assert len(_stdlib_text.topics()) > 50
    monkeypatch.setattr(_stdlib_text.importlib.util, "find_spec", lambda name: None)
    assert _stdlib_text.topics() == {}
    assert _stdlib_text.fingerprint() != before


def test_docstrings_have_the_dotted_name_of_their_object() -> None:
    names = {docstring.name for docstring in _stdlib_text.docstrings()}
    assert {"json", "json.decoder.JSONDecoder", "json.decoder.JSONDecoder.decode"} <= names
    assert not any(name.startswith(("test.", "idlelib")) for name in names)


def test_requests_are_unique_and_chosen_is_the_summary_and_differs_from_rejected() -> None:
    pairs = list(build(DocsPairsConfig()).records())
    preferences = list(build(DocsPreferencesConfig()).records())
    assert len(pairs) > 1000
    assert len({pair.source for pair in pairs}) == len(pairs)
    lines = {pair.source: pair.target for pair in pairs}
    for preference in preferences:
        assert preference.chosen == lines[preference.prompt] != preference.rejected
    rejected = sorted(len(preference.rejected) for preference in preferences)
    chosen = sorted(len(preference.chosen) for preference in preferences)
    assert sum(rejected) == pytest.approx(sum(chosen), rel=0.01)


def test_conversations_explain_a_name_and_then_summarise_it() -> None:
    chats = list(build(DocsChatConfig()).records())
    assert len(chats) > 5000
    with_summary = [chat for chat in chats if len(chat.messages) == 4]
    assert 1000 < len(with_summary) < len(chats)
    for chat in chats:
        assert [m.role for m in chat.messages] == ["user", "assistant"] * (len(chat.messages) // 2)
        assert all(message.content.strip() for message in chat.messages)
        assert len(chat.messages[1].content) <= DocsChatConfig().max_chars
    for chat in with_summary:
        request, answer = chat.messages[2:]
        assert request.content == AGAIN
        assert chat.messages[1].content.startswith(f"{answer.content}\n\n")
