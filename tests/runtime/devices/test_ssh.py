"""Linux machines over ssh: an SSH server of this machine, with keys and a port of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.artefact import Artefact
from runtime.devices import ssh
from runtime.devices.children import Finished, ToolMissing
from runtime.devices.remote import working_folder
from runtime.figures import Provenance
from runtime.profiling.backends import Request
from targets.errors import GateFailed, GateUnavailable, InputError
from tests.runtime.devices import loopback
from tests.runtime.devices.local_shell import write_program
from tests.runtime.tiny_c import write_c_artefact

needs_server = pytest.mark.skipif(bool(loopback.missing()), reason=loopback.missing())
needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc not installed")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of a server, and its folder: bin/ssh is a client with its keys."""
    folder = tmp_path_factory.mktemp("sshd")
    with loopback.server(folder) as address:
        yield address, folder


@pytest.fixture
def address(endpoint: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PATH", f"{endpoint[1] / 'bin'}:{os.environ['PATH']}")
    monkeypatch.delenv("SORDINO_BENCHMARK_MODEL", raising=False)
    return endpoint[0]


@pytest.fixture
def shell(address: str, endpoint: tuple[str, Path], tmp_path: Path) -> ssh.SshShell:
    return ssh.SshShell(str(endpoint[1] / "bin" / "ssh"), address, tmp_path)


@pytest.fixture
def artefact(tmp_path: Path) -> Artefact:
    return write_c_artefact(tmp_path / "tiny-c")


@needs_server
@needs_compiler
def test_generated_c_is_exact_and_timed_and_nothing_remains(
    address: str, endpoint: tuple[str, Path], artefact: Artefact
) -> None:
    request = Request(address=address, seconds=0.1, frames=8, cpu=min(os.sched_getaffinity(0)))
    ((reading,),) = ssh.measure([artefact], request).readings
    assert reading.matches
    assert (reading.backend, reading.place) == ("ssh", address)
    values = {figure.name: figure.value for figure in reading.figures}
    step = [values[f"step, {name} [ssh {address}]"] for name in ("median", "p95", "p99")]
    assert 0 < step[0] <= step[1] <= step[2]
    hop = 1e6 * artefact.sidecar.contract.hop / artefact.sidecar.contract.sample_rate
    assert values[f"step of hop [ssh {address}]"] == pytest.approx(100 * step[2] / hop)
    assert values[f"peak memory [ssh {address}]"] > 10_000
    # The server is this machine, so no figure may claim to come from a device.
    assert {figure.provenance for figure in reading.figures} == {Provenance.MEASURED_HOST}
    assert all(f"core {request.cpu}" in figure.conditions for figure in reading.figures[:4])
    assert [(row.kind, row.macs) for row in reading.operators] == [
        ("CONV_2D", 1536),
        ("CONCATENATION", 0),
    ]
    assert all(row.value is not None and row.unit == "µs" for row in reading.operators)
    assert not list(endpoint[1].glob("sordino-*"))


@needs_server
@needs_compiler
@pytest.mark.slow
def test_a_crash_is_reported_and_nothing_remains(
    address: str, endpoint: tuple[str, Path], tmp_path: Path
) -> None:
    mortal = write_c_artefact(tmp_path / "mortal", life=20)
    with pytest.raises(GateFailed, match=r"crashed on ssh .* \(signal 6\)"):
        ssh.measure([mortal], Request(address=address, seconds=0.05, frames=8))
    assert not list(endpoint[1].glob("sordino-*"))


@needs_server
def test_a_core_that_is_not_there(address: str, artefact: Artefact) -> None:
    with pytest.raises(InputError, match="core 9999"):
        ssh.measure([artefact], Request(address=address, cpu=9999))


@needs_server
def test_files_travel_unchanged_under_any_name(shell: ssh.SshShell, tmp_path: Path) -> None:
    content = bytes(range(256)) * 300
    local = tmp_path / "-o ProxyCommand=x $(touch y)"
    local.write_bytes(content)
    with working_folder(shell) as remote:
        target = f'{remote}/it\'s a $(name) `of` "letters"'
        shell.push(local, target)
        shell.pull(target, tmp_path / "back")
        assert shell.run(f"ls {remote} | wc -l").output.strip() == "1"
    assert (tmp_path / "back").read_bytes() == content
    assert not (tmp_path / "y").exists()


@needs_server
def test_status_output_and_errors_of_a_command(shell: ssh.SshShell) -> None:
    assert shell.run("echo out; echo err >&2; exit 7") == Finished(7, "out\n", "err\n")


@needs_server
def test_a_file_that_cannot_be_written_or_read(shell: ssh.SshShell, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 10_000)
    with pytest.raises(GateUnavailable, match="No space left"):
        shell.push(tmp_path / "file", "/dev/full")
    with pytest.raises(GateUnavailable, match="No such file"):
        shell.pull("/nonexistent/file", tmp_path / "back")


@needs_server
def test_the_folder_is_private_and_goes_after_an_interruption(
    shell: ssh.SshShell, endpoint: tuple[str, Path]
) -> None:
    def interrupted() -> None:
        with working_folder(shell) as remote:
            assert Path(remote).parent == endpoint[1]
            assert Path(remote).stat().st_mode & 0o777 == 0o700
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(endpoint[1].glob("sordino-*"))


@needs_server
def test_a_key_that_is_not_let_in(
    shell: ssh.SshShell, endpoint: tuple[str, Path], address: str
) -> None:
    keys = endpoint[1] / "authorized"
    kept = keys.read_text()
    keys.write_text("")
    try:
        with pytest.raises(GateUnavailable, match="Permission denied") as caught:
            shell.run("true")
    finally:
        keys.write_text(kept)
    assert caught.value.exit_code == 3
    assert f"ssh-copy-id {address}" in caught.value.hint


@needs_server
def test_a_host_whose_key_is_not_known(shell: ssh.SshShell, endpoint: tuple[str, Path]) -> None:
    known = endpoint[1] / "known"
    kept = known.read_text()
    known.write_text("")
    try:
        with pytest.raises(GateUnavailable, match="Host key verification failed") as caught:
            shell.run("true")
    finally:
        known.write_text(kept)
    assert "by hand" in caught.value.hint


@needs_server
def test_nobody_listens(endpoint: tuple[str, Path], tmp_path: Path) -> None:
    shell = ssh.SshShell(str(endpoint[1] / "bin" / "ssh"), "127.0.0.1:1", tmp_path)
    with pytest.raises(GateUnavailable, match="Connection refused") as caught:
        shell.run("true")
    assert "sshd" in caught.value.hint


@needs_server
def test_a_connection_that_ends_in_the_middle(shell: ssh.SshShell) -> None:
    with pytest.raises(GateUnavailable, match="does not answer"):
        shell.run("kill -9 $PPID; sleep 5")


def test_ssh_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match="ssh") as caught:
        ssh.measure([], Request(address="pi@host"))
    assert "openssh-client" in caught.value.hint


def test_ssh_is_asked_never_to_ask(tmp_path: Path) -> None:
    write_program(tmp_path / "ssh", f'printf "%s\\n" "$@" > {tmp_path}/arguments')
    ssh.SshShell(str(tmp_path / "ssh"), "pi@[::1]:2222", tmp_path).run("echo 'a b'")
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert "BatchMode=yes" in arguments
    assert "ConnectTimeout=10" in arguments
    end = arguments.index("--")
    assert arguments[end - 2 : end] == ["-p", "2222"]
    assert arguments[end + 1] == "pi@::1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host", ("", "host", "")),
        ("pi@192.168.0.7", ("pi", "192.168.0.7", "")),
        ("pi@host:2222", ("pi", "host", "2222")),
        ("me@corp.example@host-1", ("me@corp.example", "host-1", "")),
        ("root@[fe80::1%eth0]:22", ("root", "fe80::1%eth0", "22")),
    ],
)
def test_addresses(text: str, expected: tuple[str, str, str]) -> None:
    assert ssh.parse_address(text) == ssh.Address(*expected)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "-oProxyCommand=x",
            "pi@-oProxyCommand=x",
            "-l@host",
            "a b",
            "a\nb",
            "host:",
            "host:x",
        ),
        *("host:0", "host:70000", "$(id)", "pi@`id`", "a;b", "a'b", "::1", "pi@[::1", "ho\x00st"),
        *("user@ho|st", "ssh://host", "häst", "host:22\n"),
    ],
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="no address"):
        ssh.parse_address(text)


@given(st.text(max_size=40))
def test_no_address_becomes_an_option_or_a_command(text: str) -> None:
    try:
        address = ssh.parse_address(text)
    except InputError:
        return
    destination = address.arguments()[-1]
    assert not destination.startswith("-")
    assert not set(destination) & set(" \t\r\n'\"`$;|&<>(){}*?\\!#~")
    assert address.port == "" or address.port.isdigit()
