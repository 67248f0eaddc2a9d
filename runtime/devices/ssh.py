"""Any Linux machine, through the OpenSSH client of this one.

The user's own configuration holds (keys, host names, jump hosts); nothing is ever asked, so that a
profile cannot wait for a password. Files travel through the standard input and output of ``cat``:
the far side needs a shell and no more.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from runtime.artefact import Artefact
from runtime.devices.children import Finished, find_tool
from runtime.devices.linux import measure_on
from runtime.devices.remote import (
    ANSWER_SECONDS,
    TRANSFER_SECONDS,
    ConnectionLost,
    reason,
    run_remote,
)
from runtime.profiling.backends import Findings, Request
from targets.errors import GateUnavailable, InputError

CONNECT_SECONDS = 10
FAILED = 255  # the status of ssh itself
OPTIONS = (
    "-T",
    *("-o", "BatchMode=yes"),
    *("-o", f"ConnectTimeout={CONNECT_SECONDS}"),
    *("-o", "ServerAliveInterval=5"),
    *("-o", "ServerAliveCountMax=3"),
    *("-o", "RemoteCommand=none"),
)
# Less than a shell would take: names reach the ProxyCommand of a user's configuration.
ADDRESS = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][\w.+@-]*)@)?"
    r"(?:\[(?P<literal>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[A-Za-z0-9_][\w.-]*))"
    r"(?::(?P<port>[0-9]{1,5}))?",
    re.ASCII,
)
HINTS = (
    ("Permission denied", "Let the key of this machine in: `ssh-copy-id {address}`."),
    ("Host key verification failed", "Connect once by hand to check its key: `ssh {address}`."),
    ("REMOTE HOST IDENTIFICATION", "Connect once by hand to check its key: `ssh {address}`."),
    ("Could not resolve", "Is the name right? `ssh {address}` must work without a question."),
    ("Connection refused", "Is sshd running there, and on this port?"),
    ("timed out", "Is it on, and in the same network?"),
)


@dataclass(frozen=True)
class Address:
    """``user@host:port``; ``user`` and ``port`` may be empty, for the user's configuration."""

    user: str
    host: str
    port: str

    def arguments(self) -> list[str]:
        """What ssh is given. Nothing in it can be taken for an option."""
        destination = f"{self.user}@{self.host}" if self.user else self.host
        return [*(["-p", self.port] if self.port else []), "--", destination]


def parse_address(text: str) -> Address:
    """``[user@]host[:port]``, an IPv6 address in brackets. Raises InputError."""
    found = ADDRESS.fullmatch(text)
    if found is None or int(found["port"] or 1) not in range(1, 65536):
        raise InputError(
            f"{text!r} is no address of a machine.",
            hint="Write --on ssh:user@host or ssh:user@host:port, IPv6 as user@[::1]:22.",
        )
    return Address(found["user"] or "", found["literal"] or found["host"], found["port"] or "")


@dataclass(frozen=True)
class SshShell:
    """A shell at ``address``; ``folder`` is for ssh itself, on this machine."""

    program: str
    address: str
    folder: Path

    @property
    def name(self) -> str:
        return f"ssh {self.address}"

    @property
    def folders(self) -> tuple[str, ...]:
        return ("$TMPDIR", "/tmp", "/var/tmp", "$HOME")

    def run(self, script: str, timeout: float = ANSWER_SECONDS) -> Finished:
        return self._finished([*self._ssh(), _for_any_shell(script)], timeout)

    def push(self, local: Path, remote: str) -> None:
        feed = ["sh", "-c", 'file=$0; exec "$@" < "$file"', str(local)]
        written = self._finished(
            [*feed, *self._ssh(), _for_any_shell(f"cat > {quote(remote)}")], TRANSFER_SECONDS
        )
        if written.status:
            raise GateUnavailable(
                f"{local.name} cannot be written on {self.name}: {reason(written)}",
                hint="Is there space left?",
            )

    def pull(self, remote: str, local: Path) -> None:
        keep = ["sh", "-c", 'file=$0; exec "$@" > "$file"', str(local)]
        read = self._finished(
            [*keep, *self._ssh(), _for_any_shell(f"cat {quote(remote)}")], TRANSFER_SECONDS
        )
        if read.status:
            raise GateUnavailable(f"{local.name} cannot be read on {self.name}: {reason(read)}")

    def _ssh(self) -> list[str]:
        return [self.program, *OPTIONS, *parse_address(self.address).arguments()]

    def _finished(self, command: Sequence[str], timeout: float) -> Finished:
        finished = run_remote(self.name, command, self.folder, timeout)
        if finished.status == FAILED:
            said = finished.errors
            known = next((hint for words, hint in HINTS if words in said), "")
            hint = known.format(address=self.address)
            kind = GateUnavailable if known else ConnectionLost
            raise kind(
                f"{self.name} does not answer: {reason(Finished(FAILED, '', said))}",
                hint=hint or f"`ssh {self.address} true` must work without a question.",
            )
        return finished


def _for_any_shell(script: str) -> str:
    """A command line that hands ``script`` to a POSIX shell, whichever shell the user has.

    Within single quotes shells agree on all letters but these.
    """
    if set(script) & set("\\!\n"):
        raise ValueError(f"not every shell reads {script!r} alike")
    return f"exec sh -c {quote(script)}"


def measure(artefacts: Sequence[Artefact], request: Request) -> Findings:
    """Time artefacts on the machine ``request.address``, ``user@host[:port]``.

    Raises ToolMissing without an OpenSSH client or without a compiler for the machine, InputError
    for an address that is none or a core that it does not have, GateUnavailable where it cannot be
    reached or a program does not run there.
    """
    parse_address(request.address)
    program = find_tool("ssh", "openssh-client")
    with tempfile.TemporaryDirectory(prefix="sordino-ssh-") as temporary:
        folder = Path(temporary)
        shell = SshShell(program, request.address, folder)
        return measure_on(shell, "ssh", request.address, artefacts, request, folder)
