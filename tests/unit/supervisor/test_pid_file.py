from pathlib import Path

from headgate.supervisor import pid_file


def test_pid_file_of_a_successor_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    pid_file.write(path, 2)
    pid_file.remove(path, 1)
    assert path.read_text() == "2\n"
    pid_file.remove(path, 2)
    assert not path.exists()
