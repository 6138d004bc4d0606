"""emulator.toml: what it may say, and how a mistake in it is told."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from headway_emulator.configuration import BadConfiguration, read


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "emulator.toml"


def write(file: Path, text: str) -> Path:
    file.write_text(textwrap.dedent(text).lstrip())
    return file


def test_all_that_it_may_say_comes_under_the_names_of_the_flags(file: Path) -> None:
    found = read(
        write(
            file,
            """
            [server]
            host = "127.0.0.1"
            port = 9000
            state = "kept/here"
            executor = "process"
            project = "mine"
            project_number = "42"
            grace = 2.5

            [clock]
            kind = "virtual"

            [[quota]]
            region = "us-central1"
            metric = "custom_model_training_nvidia_l4_gpus"
            limit = 0

            [[fault]]
            kind = "preempt"
            job = "*"
            after = 30
            """,
        )
    )
    assert found["host"] == ["127.0.0.1"]
    assert (found["port"], found["executor"], found["clock"]) == (9000, "process", "virtual")
    assert (found["project"], found["project_number"], found["grace"]) == ("mine", "42", 2.5)
    assert found["quotas"][0]["limit"] == 0
    assert found["faults"] == ({"kind": "preempt", "job": "*", "after": 30},)


def test_a_state_folder_is_seen_from_the_file(file: Path) -> None:
    assert read(write(file, '[server]\nstate = "kept/here"\n'))["state"] == str(file.parent / "kept" / "here")
    assert read(write(file, '[server]\nstate = "/elsewhere"\n'))["state"] == "/elsewhere"


def test_an_empty_file_says_nothing(file: Path) -> None:
    assert read(write(file, "")) == {"quotas": (), "faults": ()}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[server]\nport = 1\n\nprot = 2\n", 4, "[server] has no 'prot'; did you mean 'port'?"),
        ("[server]\nport = 1\n[sever]\nport = 1\n", 3, "the file has no 'sever'; did you mean 'server'?"),
        ("[server]\ncolour = 1\n", 2, "[server] has no 'colour'; it has: host, port, state"),
        ("[clock]\nspeed = 2\n", 2, "[clock] has no 'speed'; it has: kind"),
        ("[server]\nport = '1'\n", 2, "port is a whole number, not '1'"),
        ("[server]\nport = true\n", 2, "port is a whole number, not True"),
        ("[server]\nhost = []\n", 2, "host is text or a list of texts, not []"),
        ("[server]\nexecutor = 'podman'\n", 2, "executor is docker or process, not 'podman'"),
        ("[clock]\nkind = 'slow'\n", 2, "kind is real or virtual, not 'slow'"),
        ("[quota]\nlimit = 1\n", 1, "there may be several: write [[quota]]"),
        ("[[quota]]\nlimit = 1\n\n[[quota]]\nlimt = 1\n", 5, "[quota] has no 'limt'; did you mean 'limit'?"),
        ("[[quota]]\nregion = 'x'\n", 1, "a quota has a limit, 0 or more"),
        ("[[quota]]\nlimit = -1\n", 2, "a quota has a limit, 0 or more"),
        (
            "[[quota]]\nlimit = 1\nmetric = 'nvidia_l4_gpus'\n",
            3,
            "did you mean 'custom_model_training_nvidia_l4_gpus'?",
        ),
        (
            "[[quota]]\nlimit = 1\nmetric = 'cpus'\n",
            3,
            "they are like 'custom_model_training_nvidia_t4_gpus'",
        ),
        ("[[fault]]\nkind = 'preempt'\n\n[[fault]]\nkind = 'quake'\n", 5, "A fault's kind is one of"),
        ("[[fault]]\nkind = 'preempt'\njab = '*'\n", 3, "A preempt fault has no 'jab'"),
        ("server = 1\n", 1, "server is a table: write [server]"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_write(
    file: Path, text: str, line: int, says: str
) -> None:
    with pytest.raises(BadConfiguration) as caught:
        read(write(file, text))
    assert str(caught.value).startswith(f"{file}, line {line}: ")
    assert says in str(caught.value)


def test_what_is_no_toml_is_told_with_its_place(file: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"is no TOML: .*line 2"):
        read(write(file, "[server]\nport =\n"))


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"emulator\.toml cannot be read: No such file"):
        read(file)


def test_what_is_no_text_is_named(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadConfiguration, match=r"emulator\.toml cannot be read"):
        read(file)
