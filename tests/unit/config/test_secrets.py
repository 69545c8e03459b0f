"""Secrets by reference: what leads to nothing is refused, and never taken for "no secret"."""

from pathlib import Path

import pytest

from headgate.config.admin import AdminConfig, TokenConfig
from headgate.config.errors import ConfigError
from headgate.config.secrets import LONGEST_SECRET_BYTES, MASK, resolved

TOKEN = "0123456789abcdef"


def test_a_file_is_read_without_its_last_line_end(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3 cret\r\n")
    assert resolved(f"file:{tmp_path}/secret") == "s3 cret"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"x" * (LONGEST_SECRET_BYTES + 1)])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    for text in (f"file:{file}", f"file:{tmp_path}"):
        with pytest.raises(ConfigError):
            AdminConfig.parse({"listen": "127.0.0.1:9144", "tokens": text})
    with pytest.raises(ConfigError, match="relative path"):
        resolved("file:secret")


def test_an_empty_variable_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY_SECRET", "")
    for name in ("EMPTY_SECRET", "SECRET_THAT_IS_NOT_SET"):
        with pytest.raises(ConfigError, match=name):
            resolved(f"env:{name}")


@pytest.mark.parametrize("token", ["short", "", MASK, 5, None, "sha256:12"])
def test_a_token_that_could_be_guessed_is_refused(token: object) -> None:
    with pytest.raises(ConfigError):
        TokenConfig.parse({"token": token})


@pytest.mark.parametrize(
    ("admin", "message"),
    [
        ({"listen": "127.0.0.1:9144"}, "needs `tokens`"),
        ({"listen": ":9144", "tokens": TOKEN}, "unencrypted"),
        ({"listen": "10.0.0.1:9144", "tokens": TOKEN}, "unencrypted"),
        ({"listen": "127.0.0.1:9144", "tokens": []}, "needs `tokens`"),
        ({"listen": "127.0.0.1:9144", "tokens": TOKEN, "hosts": "a:1"}, "is not a valid host name"),
    ],
)
def test_an_admin_api_that_is_open_is_refused(admin: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AdminConfig.parse(admin)


def test_tokens_are_not_shown() -> None:
    admin = AdminConfig.parse({"listen": "127.0.0.1:9144", "tokens": [TOKEN]})
    assert TOKEN not in repr(admin) + str(admin.model_dump(mode="json")) + admin.model_dump_json()
