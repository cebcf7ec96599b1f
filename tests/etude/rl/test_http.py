import time
from typing import Any

import pytest
from servers import Stub, listening

from etude.errors import ConfigError, ServerError
from etude.rl.http import Server, check_server


def ask(url: str, question: Any = None, **values: Any) -> Any:  # whatever the server says
    given: dict[str, Any] = {"timeout_s": 5.0, "retries": 2, "pause_s": 0.01} | values
    return Server(url, **given).ask(question)


def test_what_is_asked_arrives_with_the_key_and_the_answer_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_KEY", "s3cret")
    with listening(lambda asked: {"said": asked["x"] * 2}) as stub:
        assert ask(stub.url, {"x": "é"}, key_variable="A_KEY") == {"said": "éé"}
        assert ask(stub.url, {"x": "b"}) == {"said": "bb"}
    assert stub.keys == ["Bearer s3cret", None]


@pytest.mark.parametrize("status", [429, 503])
def test_what_may_pass_is_tried_again(status: int) -> None:
    with listening(lambda asked: {"n": 1}, statuses=[status, status]) as stub:
        assert ask(stub.url) == {"n": 1}
    assert stub.n_asked == 3
    with (
        listening(lambda asked: {}, statuses=[status] * 3) as stub,
        pytest.raises(ServerError, match=f"{status} .*: not now"),
    ):
        ask(stub.url)


def test_a_refusal_is_not_tried_again_and_never_shows_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_KEY", "s3cret")
    with (
        listening(lambda asked: {}, statuses=[401]) as stub,
        pytest.raises(ServerError, match="401") as refusal,
    ):
        ask(stub.url, key_variable="A_KEY")
    assert stub.n_asked == 1
    assert "s3cret" not in str(refusal.value)


def test_a_server_that_is_not_there_slow_or_talks_nonsense_is_an_error() -> None:
    with listening(lambda asked: {}) as stub:
        pass
    with pytest.raises(ServerError, match="refused"):
        ask(stub.url)
    with (
        listening(lambda asked: time.sleep(0.4)) as stub,
        pytest.raises(ServerError, match="timed out"),
    ):
        ask(stub.url, timeout_s=0.1, retries=0)
    with listening(Stub.nonsense) as stub, pytest.raises(ServerError, match="not JSON"):
        ask(stub.url)


def test_a_config_holds_no_secret_and_names_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("file:///etc/passwd", "localhost:80", "http://", "ftp://a"):
        with pytest.raises(ValueError, match="must begin with http"):
            check_server(url, 1.0, 0)
    with pytest.raises(ValueError, match="user name") as refusal:
        check_server("http://me:s3cret@host/", 1.0, 0)
    assert "s3cret" not in str(refusal.value)
    monkeypatch.delenv("A_KEY", raising=False)
    with pytest.raises(ConfigError, match="A_KEY"):
        ask("http://localhost:1", key_variable="A_KEY")
