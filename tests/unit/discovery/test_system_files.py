"""resolv.conf(5) and hosts(5)."""

from pathlib import Path

from headgate.discovery.system_files import WatchedFile, parse_hosts, parse_resolv_conf


def test_resolv_conf_is_read_as_the_system_does() -> None:
    read = parse_resolv_conf(
        "# comment\nnameserver 192.0.2.53\nnameserver fd00::53\nnameserver ns.test\n"
        "domain first.test\nsearch a.test b.test.\noptions ndots:5 rotate timeout:1\n"
    )
    assert [(one.host, one.port) for one in read.servers] == [("192.0.2.53", 53), ("fd00::53", 53)]
    assert (read.search, read.ndots) == (("a.test", "b.test"), 5)
    assert parse_resolv_conf("").servers[0].host == "127.0.0.1"
    assert parse_resolv_conf("options ndots:99").ndots == 15


def test_hosts_are_read_by_every_name() -> None:
    read = parse_hosts("127.0.0.1 localhost\n::1 localhost ip6\n192.0.2.1 App.Test app # app2\nnonsense x\n")
    assert read == {
        "localhost": ["127.0.0.1", "::1"],
        "ip6": ["::1"],
        "app.test": ["192.0.2.1"],
        "app": ["192.0.2.1"],
    }


def test_file_is_read_again_when_it_is_another_one(tmp_path: Path) -> None:
    file, other = tmp_path / "hosts", tmp_path / "other"
    watched = WatchedFile(file, parse_hosts)
    assert watched.content == {}
    file.write_text("192.0.2.1 a\n")
    version = watched.version
    assert watched.content == {"a": ["192.0.2.1"]} and watched.version == version
    other.write_text("192.0.2.2 a\n")
    other.replace(file)
    assert watched.version != version and watched.content == {"a": ["192.0.2.2"]}
    file.unlink()
    assert watched.content == {}
