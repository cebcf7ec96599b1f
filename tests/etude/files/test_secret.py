import pytest

from etude.files.secret import is_secret, redacted

HEX = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pa55@host/x", "https://***@host/x"),
        ("postgres://:pa55@host", "postgres://***@host"),
        ("https://ghp@host/x", "https://***@host/x"),
        ("see //user:p#ss?w@host", "see //***@host"),
        ("https://host/x?a=1&access_token=abc#b", "https://host/x?a=1***"),
        ("https://host/x?X-Amz-Signature=abc", "https://host/x***"),
        ("hf_" + "aB3" * 12, "***"),
        ("x sk-proj-" + "aB3" * 12 + " y", "x *** y"),
        ("sk-ant-api03-" + "aB3" * 12, "***"),
        ("ghp_" + "aB3" * 12, "***"),
        ("github_pat_" + "aB3_" * 12, "***"),
        ("glpat-" + "aB3" * 7, "***"),
        ("AKIAABCDEFGHIJKLMNOP", "***"),
        ("eyJhbGciOiJIUzI1.eyJzdWIiOiIx.abc", "***"),
        ("Authorization: Bearer abcdefghijklmnop", "Authorization: ***"),
        ("host=a password=pa55", "host=a ***"),
        (f"WANDB_API_KEY={HEX}", "***"),
        (f"key_variable={HEX}: not set", "***: not set"),
    ],
)
def test_a_secret_is_found_and_redacted(text: str, shown: str) -> None:
    assert is_secret(text)
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://host:8000/score@v2?model=a", "http://localhost:8000/v1", "ssh://git@github.com/a",
        "outputs/risk-sk-learn/run", f"outputs/{HEX}", "objective.max_new_tokens=64", "a@b.org",
        "data.path=texts/**/*.txt", "tokenizer=bpe", "meta.body", "sk-learn", "hf_models/a",
        "A token: what is it?", "*.norm*", "OPENAI_API_KEY", "C:\\texts", "s3://bucket/a",
    ],
)  # fmt: skip
def test_other_text_is_not_a_secret(text: str) -> None:
    assert not is_secret(text, "path")
    assert redacted(text) == text


def test_a_long_random_text_is_a_secret_only_under_the_name_of_a_key() -> None:
    assert is_secret(HEX, "logger.mine.api_key")
    assert is_secret(HEX, "reward.http.key_variable")
    assert not is_secret(HEX, "logger.wandb.project")
    assert not is_secret("OPENAI_API_KEY", "judge.key_variable")
    assert not is_secret(HEX, "data.tokens")
