import time
from typing import Any

import pytest
from servers import StubServer, stub_server

from etude.errors import ConfigError, ServerError
from etude.rl.http import Server, check_server


def post(url: str, body: Any = None, **values: Any) -> Any:  # whatever the server says
    settings: dict[str, Any] = {"timeout_s": 5.0, "retries": 2, "pause_s": 0.01} | values
    return Server(url, **settings).post(body)


def test_post_sends_the_body_and_the_key_and_returns_the_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_KEY", "s3cret")
    with stub_server(lambda body: {"twice": body["x"] * 2}) as stub:
        assert post(stub.url, {"x": "é"}, key_variable="A_KEY") == {"twice": "éé"}
        assert post(stub.url, {"x": "b"}) == {"twice": "bb"}
    assert stub.keys == ["Bearer s3cret", None]


@pytest.mark.parametrize("status", [429, 503])
def test_transient_errors_are_retried(status: int) -> None:
    with stub_server(lambda body: {"n": 1}, statuses=[status, status]) as stub:
        assert post(stub.url) == {"n": 1}
    assert stub.n_requests == 3
    with (
        stub_server(lambda body: {}, statuses=[status] * 3) as stub,
        pytest.raises(ServerError, match=f"{status} .*: not now"),
    ):
        post(stub.url)


def test_a_rejected_request_is_not_retried_and_never_shows_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_KEY", "s3cret")
    with (
        stub_server(lambda body: {}, statuses=[401]) as stub,
        pytest.raises(ServerError, match="401") as error,
    ):
        post(stub.url, key_variable="A_KEY")
    assert stub.n_requests == 1
    assert "s3cret" not in str(error.value)


def test_a_missing_or_slow_server_and_an_invalid_response_are_errors() -> None:
    with stub_server(lambda body: {}) as stub:
        pass
    with pytest.raises(ServerError, match="refused"):
        post(stub.url)
    with (
        stub_server(lambda body: time.sleep(0.4)) as stub,
        pytest.raises(ServerError, match="timed out"),
    ):
        post(stub.url, timeout_s=0.1, retries=0)
    with stub_server(StubServer.nonsense) as stub, pytest.raises(ServerError, match="not JSON"):
        post(stub.url)


def test_a_url_must_name_a_server_and_contain_no_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for url in ("file:///etc/passwd", "localhost:80", "http://", "ftp://a"):
        with pytest.raises(ValueError, match="must start with http"):
            check_server(url, 1.0, 0)
    with pytest.raises(ValueError, match="credentials") as error:
        check_server("http://me:s3cret@host/", 1.0, 0)
    assert "s3cret" not in str(error.value)
    monkeypatch.delenv("A_KEY", raising=False)
    with pytest.raises(ConfigError, match="A_KEY"):
        post("http://localhost:1", key_variable="A_KEY")
