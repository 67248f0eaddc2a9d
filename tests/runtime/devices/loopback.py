"""An SSH server on this machine, for one test run: its own keys, port and configuration."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER = shutil.which("sshd") or "/usr/sbin/sshd"
PRIVILEGE_SEPARATION = Path("/run/sshd")  # which sshd wants to exist when root starts it
START_SECONDS = 10.0


def missing() -> str:
    """Why no server can be started here, empty when one can."""
    if not os.access(SERVER, os.X_OK) or shutil.which("ssh") is None:
        return "openssh-server or openssh-client not installed"
    if os.geteuid() == 0 and not PRIVILEGE_SEPARATION.is_dir():
        try:
            PRIVILEGE_SEPARATION.mkdir(mode=0o755)
        except OSError:
            return f"{PRIVILEGE_SEPARATION} is missing and cannot be made"
    return ""


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A running server; yields its address. ``folder/bin/ssh`` is a client that knows it.

    A client needs keys and host names that are not those of whoever runs the tests, and OpenSSH
    finds its configuration through no variable, so ``bin/ssh`` names one.
    """
    folder.chmod(0o700)
    for key in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
        subprocess.run(command, check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    port = _free_port()
    _configure_server(folder, port)
    _configure_client(folder, port)
    log = folder / "log"
    process = subprocess.Popen(
        [SERVER, "-D", "-e", "-f", str(folder / "sshd_config")],
        stdout=subprocess.DEVNULL,
        stderr=log.open("w"),
    )
    try:
        _wait(port, process, log)
        yield f"{getpass.getuser()}@127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _configure_server(folder: Path, port: int) -> None:
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\n"
        f"HostKey {folder}/host\n"
        f"AuthorizedKeysFile {folder}/authorized\n"
        "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitUserEnvironment no\n"
        f"SetEnv TMPDIR={folder}\n"
        "KexAlgorithms curve25519-sha256\nPrintMotd no\n"
    )


def _configure_client(folder: Path, port: int) -> None:
    key = (folder / "host.pub").read_text()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {key}")
    (folder / "ssh_config").write_text(
        f"IdentityFile {folder}/user\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known\n"
        f"GlobalKnownHostsFile /dev/null\n"
    )
    (folder / "bin").mkdir()
    client = folder / "bin" / "ssh"
    client.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    client.chmod(0o755)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"sshd does not start: {log.read_text()[-500:]}")
