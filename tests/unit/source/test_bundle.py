"""The code as one archive: the same everywhere, and nothing in it that should not travel."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import CredentialFound, InputError
from headway.source import archive, bundle
from headway.source.bundle import pack

from .conftest import Fill, git

PRIVATE_KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----\n"
SERVICE_ACCOUNT = '{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\\nMII"}'
USER_CREDENTIALS = '{"client_secret": "x", "refresh_token": "1//0abcdefghijklmnopqrstuvwxyz"}'


def members(tar: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(tar) as opened:
        return {member.name: member for member in opened}


def test_the_digest_is_the_tars_own_sha256(project: Fill, tmp_path: Path) -> None:
    packed = pack(project({"train.py": "print()", "pkg/a.py": "x" * 700}))
    packed.write(tmp_path / "code.tar")
    data = (tmp_path / "code.tar").read_bytes()
    assert hashlib.sha256(data).hexdigest() == packed.digest
    assert len(data) == packed.size
    assert [(file.path, file.size) for file in packed.files] == [("pkg/a.py", 700), ("train.py", 7)]
    with packed.open() as stream:
        assert stream.read() == data


def test_time_owner_and_order_of_writing_do_not_matter(project: Fill) -> None:
    root = project({"b.py": "b", "a.py": "a"})
    before = pack(root).digest
    os.utime(root / "a.py", (1, 1))
    (root / "a.py").chmod(0o600)
    (root / "b.py").unlink()
    assert pack(project({"b.py": "b"})).digest == before


def test_content_name_and_the_executable_bit_matter(project: Fill) -> None:
    root = project({"a.py": "a"})
    digests = [pack(root).digest]
    (root / "a.py").chmod(0o755)
    digests.append(pack(root).digest)
    (root / "a.py").write_text("b", encoding="utf-8")
    digests.append(pack(root).digest)
    (root / "a.py").rename(root / "b.py")
    digests.append(pack(root).digest)
    assert len(set(digests)) == 4


def test_any_tar_program_reads_it(project: Fill, tmp_path: Path) -> None:
    long = "/".join(["deep" * 10] * 6) + "/ü.py"
    root = project({"run.sh": "#!/bin/sh\n", long: "x"})
    (root / "run.sh").chmod(0o700)
    pack(root).write(tmp_path / "code.tar")
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "xf", tmp_path / "code.tar", "-C", tmp_path / "out"], check=True, timeout=30)
    assert (tmp_path / "out" / long).read_text(encoding="utf-8") == "x"
    assert os.access(tmp_path / "out" / "run.sh", os.X_OK)
    found = members(tmp_path / "code.tar")
    assert {(member.uid, member.mtime, member.uname) for member in found.values()} == {(0, 0, "")}
    assert found["run.sh"].mode == 0o755
    assert found[long].mode == 0o644


@settings(max_examples=30, deadline=None)
@given(
    files=st.dictionaries(
        st.from_regex(r"[a-zäß]{1,12}(/[a-z]{1,120}){0,2}\.py", fullmatch=True),
        st.binary(max_size=2000),
        max_size=6,
    )
)
def test_what_is_packed_comes_out_again(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "project")
        root.mkdir()
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        with pack(root).open() as stream, tarfile.open(fileobj=stream) as opened:
            assert {m.name: opened.extractfile(m).read() for m in opened} == files  # type: ignore[union-attr]


def test_links_inside_stay_links_and_absolute_ones_become_relative(project: Fill, tmp_path: Path) -> None:
    root = project({"pkg/a.py": "a"})
    (root / "b.py").symlink_to("pkg/a.py")
    (root / "folder").symlink_to(root / "pkg")
    (root / "pkg" / "up.py").symlink_to(root / "b.py")
    pack(root).write(tmp_path / "code.tar")
    found = members(tmp_path / "code.tar")
    assert {name: found[name].linkname for name in ("b.py", "folder", "pkg/up.py")} == {
        "b.py": "pkg/a.py",
        "folder": "pkg",
        "pkg/up.py": "a.py",
    }


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside"])
def test_a_link_out_of_the_project_is_refused_by_name(project: Fill, target: str) -> None:
    root = project({"train.py": ""})
    (root / "shared.py").symlink_to(target)
    with pytest.raises(InputError) as caught:
        pack(root)
    assert caught.value.message == f"shared.py is a link to {target}, outside of the project"
    assert ".headwayignore" in (caught.value.hint or "")


def test_pipes_and_sockets_are_left_out(project: Fill) -> None:
    root = project({"train.py": ""})
    os.mkfifo(root / "pipe")
    assert [file.path for file in pack(root).files] == ["train.py"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("key.json", SERVICE_ACCOUNT, "it is a service account's key"),
        ("conf/key.txt", PRIVATE_KEY, "there is a private key in it"),
        ("adc.json", USER_CREDENTIALS, "there is a refresh token in it"),
        ("credentials.json", "{}", "its name is that of a credential file"),
        ("conf/application_default_credentials.json", "{}", "its name is that of a credential file"),
        ("id_rsa", "x", "its name is that of a credential file"),
        ("cert.p12", "x", "its name is that of a credential file"),
        (".netrc", "x", "its name is that of a credential file"),
        (".pypirc", "x", "its name is that of a credential file"),
        (".npmrc", "//registry.example.org/:_authToken=abc\n", "there is a registry's token in it"),
        ("server.pem", "MIIEow", "its name is that of a key file"),
    ],
)
def test_a_file_that_looks_like_a_credential_stops_everything(
    project: Fill, name: str, content: str, why: str
) -> None:
    with pytest.raises(CredentialFound) as caught:
        pack(project({"train.py": "", name: content}))
    assert caught.value.message == f"{name} looks like a credential: {why}. Nothing was sent."
    assert "name it in .gitignore or .headwayignore" in (caught.value.hint or "")
    assert "environment.secrets" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ca.pem", "-----BEGIN CERTIFICATE-----\nMII\n"),
        ("detect.py", 'KEY = "-----BEGIN RSA PRIVATE KEY-----"\n'),
        ("README.md", "put your `private_key` there"),
        (".npmrc", "//registry.example.org/:_authToken=${NPM_TOKEN}\n"),
        ("token.py", 'client_secret = refresh_token = ""'),
    ],
)
def test_what_only_talks_of_credentials_is_fine(project: Fill, name: str, content: str) -> None:
    assert name in pack(project({name: content}))


def test_an_ignored_credential_stops_nothing(project: Fill) -> None:
    root = project({"train.py": "", "id_rsa": "x", ".headwayignore": "id_rsa\n"})
    assert "train.py" in pack(root)


def test_a_file_changed_while_packing_is_noticed_and_nothing_is_left(project: Fill, tmp_path: Path) -> None:
    root = project({"train.py": "a"})
    packed = pack(root)
    (root / "train.py").write_text("b", encoding="utf-8")
    with pytest.raises(InputError, match="changed while it was being packed"):
        packed.write(tmp_path / "code.tar")
    assert not (tmp_path / "code.tar").exists()


def test_data_among_the_code_is_named_by_size(project: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "LIMIT_BYTES", 1000)
    with pytest.raises(InputError, match="there is data in it") as caught:
        pack(project({"a.bin": "x" * 900, "b.bin": "x" * 1000, "train.py": ""}))
    assert caught.value.details[0].endswith("b.bin")
    assert "dvc add" in (caught.value.hint or "")


def test_a_file_that_cannot_be_read_is_named(project: Fill, tmp_path: Path) -> None:
    root = project({"train.py": ""})
    packed = pack(root)
    (root / "train.py").unlink()
    with pytest.raises(InputError, match=r"train\.py cannot be read: No such file"):
        packed.write(tmp_path / "code.tar")


def test_packing_leaves_no_file_behind(project: Fill) -> None:
    root = project({"train.py": "x"})
    before = sorted(root.rglob("*"))
    with pack(root).open():
        pass
    assert sorted(root.rglob("*")) == before


def test_a_folder_of_git_that_is_a_file_now_is_packed_as_it_is(repository: Fill) -> None:
    root = repository({"train.py": "", "pkg/model.py": ""})
    git(root, "add", ".")
    (root / "pkg" / "model.py").unlink()
    (root / "pkg").rmdir()
    (root / "pkg").write_text("a file")
    assert [file.path for file in pack(root).files] == ["pkg", "train.py"]


def test_a_path_is_in_a_bundle_however_it_is_written(project: Fill) -> None:
    bundle = pack(project({"train.py": ""}))
    assert "train.py" in bundle
    assert "./train.py" in bundle
    assert "other.py" not in bundle


@pytest.mark.parametrize("executable", [False, True])
@pytest.mark.parametrize("size", [0, 1, 12345, 8**11 - 1, 8**11])
@pytest.mark.parametrize("name", ["a", "package/module.py", "x" * 100, "x" * 101, "é.py"])
def test_the_header_of_a_member_is_the_one_that_tarfile_writes(
    name: str, size: int, executable: bool
) -> None:
    member = tarfile.TarInfo(name)
    member.mode, member.size = 0o755 if executable else 0o644, size
    assert archive.header(name, size, executable=executable) == member.tobuf(
        tarfile.PAX_FORMAT, "utf-8", "surrogateescape"
    )
