"""The folder of accounts, certificates and challenges."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from headgate.acme.challenges import validation_certificate
from headgate.acme.order import new_key
from headgate.acme.storage import Storage, StorageError, split


def test_files_are_the_owners_alone_and_read_back(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "acme")
    storage.prepare()
    pem = validation_certificate("a.test", "token.digest")
    chain, key = split(pem)
    storage.put_certificate("a.test", "ecdsa", chain, key)
    found = storage.certificate("a.test", "ecdsa")
    assert found is not None and found.names == ("a.test",) and found.key == key
    for path in (tmp_path / "acme").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, path
    assert not list((tmp_path / "acme").rglob(".*")), "nothing half written stays"


def test_wildcards_and_types_of_keys_have_files_of_their_own(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.prepare()
    for name, kind in (("*.a.test", "ecdsa"), ("a.test", "ecdsa"), ("a.test", "rsa")):
        storage.put_certificate(name, kind, b"-----x\n", new_key("ecdsa"))
    names = {path.name for path in (tmp_path / "certificates").iterdir()}
    assert names == {"_.a.test.pem", "a.test.pem", "a.test.rsa.pem"}


@pytest.mark.parametrize("token", ["../x", "", "a/b", ".hidden", "x" * 300, "a\0b"])
def test_tokens_that_are_paths_are_refused(tmp_path: Path, token: str) -> None:
    storage = Storage(tmp_path)
    storage.prepare()
    with pytest.raises(StorageError, match="not a valid challenge token"):
        storage.put_http_challenge(token, b"x")


def test_folder_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*acme\.folder"):
        Storage(tmp_path / "file" / "acme").prepare()


def test_folder_is_prepared_by_many_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(Storage(tmp_path / "acme").prepare) for _ in range(200)]:
            done.result()
    assert not list((tmp_path / "acme").glob(".*"))


def test_one_process_at_a_time_orders(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.prepare()
    with storage.locked() as first, Storage(tmp_path).locked() as second:
        assert first and not second
    with Storage(tmp_path).locked() as third:
        assert third


def test_lock_of_a_dead_process_is_free(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.prepare()
    child = os.fork()
    if child == 0:
        with storage.locked():
            os._exit(0)
    os.waitpid(child, 0)
    with storage.locked() as is_ours:
        assert is_ours


def test_state_and_accounts_that_are_garbage_are_as_none(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.prepare()
    (tmp_path / "state.json").write_text("{")
    assert storage.state() == {} and storage.account("https://a.test") is None
    (tmp_path / "certificates" / "a.test.pem").write_text("garbage")
    assert storage.certificate("a.test", "ecdsa") is None


def test_certificates_on_demand_that_have_expired_are_deleted(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.prepare()
    pem = validation_certificate("a.test", "token.digest")
    chain, key = split(pem)
    end = x509.load_pem_x509_certificate(chain).not_valid_after_utc
    for name in ("a.test", "b.test"):
        storage.put_on_demand(name, chain, key, end)
    (tmp_path / "on_demand" / "broken.pem").write_text("garbage")
    assert storage.drop_expired(end - timedelta(seconds=1)) == []
    assert storage.drop_expired(end + timedelta(seconds=1)) == ["a.test", "b.test"]
    assert [path.name for path in (tmp_path / "on_demand").iterdir()] == ["broken.pem"]
