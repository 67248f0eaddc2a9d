"""A device that is a folder of this machine: what stands behind a shell, without a connection."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from runtime.devices.children import Finished, run_tool
from runtime.devices.remote import ANSWER_SECONDS


@dataclass
class LocalShell:
    """Runs scripts in ``root``; ``scripts`` are those it ran."""

    root: Path
    path: str = ""  # searched before the PATH of this process
    scripts: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "local device"

    @property
    def folders(self) -> tuple[str, ...]:
        return (str(self.root),)

    def run(self, script: str, timeout: float = ANSWER_SECONDS) -> Finished:
        self.scripts.append(script)
        searched = f"PATH={self.path}:$PATH; " if self.path else ""
        return run_tool(["sh", "-c", searched + script], self.root, timeout)

    def push(self, local: Path, remote: str) -> None:
        shutil.copyfile(local, remote)

    def pull(self, remote: str, local: Path) -> None:
        shutil.copyfile(remote, local)


def write_program(path: Path, text: str) -> None:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
