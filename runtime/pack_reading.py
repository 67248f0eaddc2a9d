"""Reading a pack that may have been made by anyone: nothing is followed, unpacked or trusted."""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.pack_format import LARGEST_FILE, LARGEST_PACK, MANIFEST, MOST_FILES, PATH_PATTERN
from targets.errors import InputError

HINT = "Name the folder or .zip that `sordino pack` wrote."


@dataclass(frozen=True)
class PackContents:
    """Files by path, and one sentence for everything that was refused.

    ``container`` holds the bytes of the zip, None for a folder.
    """

    files: dict[str, bytes]
    refused: tuple[str, ...]
    container: bytes | None = None


def read_pack(path: Path) -> PackContents:
    """Read a pack, folder or zip, into memory.

    Raises InputError when there is nothing there, it is no pack, or it is too large to be one.
    """
    try:
        if path.is_dir():
            contents = _read_folder(path)
        elif path.is_file():
            contents = _read_zip(path)
        else:
            raise InputError(f"No pack at {path}.", hint=HINT)
    except OSError as error:
        raise InputError(f"Cannot read {path} ({error.strerror}).", hint=HINT) from error
    if MANIFEST not in contents.files and not any(MANIFEST in line for line in contents.refused):
        raise InputError(f"{path} is not a pack: it has no {MANIFEST}.", hint=HINT)
    return contents


def safe_path(path: str) -> bool:
    """Whether a path is relative, plain and stays inside the pack."""
    return re.fullmatch(PATH_PATTERN, path) is not None


def _read_folder(folder: Path) -> PackContents:
    files: dict[str, bytes] = {}
    refused: list[str] = []
    total = 0
    for path, entry in _entries(folder):
        name = path.encode("utf-8", "backslashreplace").decode()
        information = entry.lstat()
        if not stat.S_ISREG(information.st_mode):
            kind = "a symbolic link" if stat.S_ISLNK(information.st_mode) else "not a plain file"
            refused.append(f"{name} is {kind}")
        elif not safe_path(path):
            refused.append(f"{name!r} is no name for a file of a pack")
        elif information.st_size > LARGEST_FILE:
            refused.append(f"{name} is larger than any file of a pack")
        else:
            total += information.st_size
            _limit(len(files) + len(refused), total, folder)
            files[path] = entry.read_bytes()
    return PackContents(files, tuple(refused))


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    """Everything below ``folder`` that is not a folder itself, links not followed; also folders
    that are empty, for nothing may hide in a pack."""
    seen = 0
    for root, folders, names in os.walk(folder):
        linked = [name for name in folders if os.path.islink(os.path.join(root, name))]
        empty = not names and not folders and Path(root) != folder
        for name in [*names, *linked, *([""] if empty else [])]:
            seen += 1
            _limit(seen, 0, folder)
            entry = Path(root, name)
            yield entry.relative_to(folder).as_posix(), entry
        folders[:] = sorted(set(folders) - set(linked))


def _limit(count: int, total: int, path: Path) -> None:
    if count > MOST_FILES or total > LARGEST_PACK:
        raise InputError(f"{path} is larger than any pack.", hint=HINT)


def _read_zip(path: Path) -> PackContents:
    if path.stat().st_size > LARGEST_PACK:
        raise InputError(f"{path} is larger than any pack.", hint=HINT)
    container = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(container)) as source:
            return _read_entries(source, container, path)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError) as error:
        raise InputError(f"{path} is not a readable zip, or a damaged one.", hint=HINT) from error
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is a damaged zip.", hint=HINT) from error


def _read_entries(source: zipfile.ZipFile, container: bytes, path: Path) -> PackContents:
    entries = source.infolist()
    # Entries are stored uncompressed, so more content than container means that they overlap.
    _limit(len(entries), sum(entry.file_size for entry in entries), path)
    files: dict[str, bytes] = {}
    refused: list[str] = []
    if sum(entry.compress_size for entry in entries) > len(container):
        raise InputError(f"{path} claims more content than it has.", hint=HINT)
    for entry in entries:
        reason = _refusal(entry, files)
        if reason:
            refused.append(f"{entry.filename!r} {reason}")
            continue
        try:
            with source.open(entry) as stream:
                files[entry.filename] = stream.read(entry.file_size)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            refused.append(f"{entry.filename!r} is damaged ({error})")
    return PackContents(files, tuple(refused), container)


def _refusal(entry: zipfile.ZipInfo, files: dict[str, bytes]) -> str:
    """Why an entry is not read; empty when it is in order."""
    if not safe_path(entry.filename):
        return "is no name for a file of a pack; it is not unpacked"
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is not a plain file"
    if entry.compress_type != zipfile.ZIP_STORED:
        return "is compressed, which sordino never does"
    if entry.file_size != entry.compress_size or entry.file_size > LARGEST_FILE:
        return "has an impossible size"
    return "occurs twice" if entry.filename in files else ""
