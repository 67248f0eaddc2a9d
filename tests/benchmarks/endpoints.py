"""Profiles artefacts on stand-ins of devices: an SSH server here, an Android under qemu-user.

    python -m tests.benchmarks.endpoints student-c-int8/ [--seconds 3] [more options of profile]

Shows that the backends work end to end where no device is at hand. The SSH server is this machine,
and its figures say so; the Android device is emulated, and gets none.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.runtime.devices import fake_adb, loopback


def profile(place: str, programs: Path, arguments: list[str]) -> int:
    command = [sys.executable, "-m", "sordino", "profile", *arguments, "--on", place]
    print("$", " ".join(["sordino", *command[3:]]), flush=True)
    path = f"{programs}:{os.environ['PATH']}"
    return subprocess.run(command, env={**os.environ, "PATH": path}, check=False).returncode


def main(arguments: list[str]) -> int:
    if reason := loopback.missing():
        print(reason)
        return 3
    with tempfile.TemporaryDirectory() as place:
        folder, phone = Path(place) / "ssh", Path(place) / "phone"
        folder.mkdir()
        with loopback.server(folder) as address:
            first = profile(f"ssh:{address}", folder / "bin", arguments)
        fake_adb.install(phone)
        return profile("adb:SN1", phone, arguments) or first


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
