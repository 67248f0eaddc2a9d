"""Verifying packs: an intact one passes, and whatever is done to it is found and named."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runtime.pack_reading
import runtime.pack_replay
from runtime.artefact import Sidecar
from runtime.pack import is_pack, verify_pack
from runtime.pack_format import (
    CONTRACT,
    FIGURES,
    GOLDEN,
    MANIFEST,
    MODEL_HEADER,
    MODEL_SOURCE,
    OP_RESOLVER,
    archive,
    canonical_json,
    resolver_lines,
)
from runtime.pack_vectors import read_array, write_array
from targets.catalog import load_target
from targets.errors import InputError
from tests.runtime.packs import NAME, failures, files_of, make_pack, repacked, verify_files
from tests.runtime.tiny_models import tiny_sidecar

Files = dict[str, bytes]
quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pack(tmp_path_factory.mktemp("pack"))


@pytest.fixture(scope="session")
def files(pack: Path) -> Files:
    return files_of(pack)


def _names(files: Files) -> list[str]:
    return sorted(files)


@pytest.mark.parametrize("target", ["tflite-int8", "tflite-fp32", "onnx-fp32"])
@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_an_intact_pack_passes(tmp_path: Path, target: str, suffix: str) -> None:
    results = verify_pack(make_pack(tmp_path, target, suffix))  # type: ignore[arg-type]
    assert {result.verdict for result in results} == {"pass"}, results
    golden = next(result for result in results if result.name == "pack-golden")
    assert "100 frames" in golden.measured
    assert golden.limit == ("bit exact" if target == "tflite-int8" else "within 0.0001")


@quick
@given(data=st.data())
def test_one_flipped_byte_in_a_folder_is_found_and_named(
    pack: Path, files: Files, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(_names(files)))
    content = bytearray(files[name])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        (pack / name).write_bytes(bytes(content))
        found = failures(verify_pack(pack))
    finally:
        (pack / name).write_bytes(files[name])
    assert any(name in detail for detail in found.values()), found


@quick
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_one_flipped_byte_in_a_zip_is_found(
    tmp_path: Path, files: Files, place: float, change: int
) -> None:
    container = bytearray(archive(files))
    container[int(place * len(container))] ^= change
    path = tmp_path / "flipped.zip"
    path.write_bytes(bytes(container))
    _found(path)


@quick
@given(place=st.integers(1, 3000), change=st.integers(1, 255))
def test_one_flipped_byte_in_the_directory_of_a_zip_is_found(
    tmp_path: Path, files: Files, place: int, change: int
) -> None:
    container = bytearray(archive(files))
    container[-min(place, len(container))] ^= change
    path = tmp_path / "flipped.zip"
    path.write_bytes(bytes(container))
    _found(path)


@quick
@given(length=st.floats(0, 1, exclude_max=True))
def test_a_truncated_zip_is_found(tmp_path: Path, files: Files, length: float) -> None:
    container = archive(files)
    path = tmp_path / "short.zip"
    path.write_bytes(container[: int(length * len(container))])
    _found(path)


def _found(path: Path) -> None:
    """A failed gate with a detail, or an error that names the file."""
    try:
        details = failures(verify_pack(path))
    except InputError as error:
        details = {"input": error.message if path.name in error.message else ""}
    assert details
    assert all(details.values())


def test_whitespace_in_the_manifest_counts(tmp_path: Path, files: Files) -> None:
    """Equal as JSON, but not the bytes that were written."""
    changed = files[MANIFEST].replace(b"\n  ", b"\n\t ", 1)
    assert json.loads(changed) == json.loads(files[MANIFEST])
    found = failures(verify_files(tmp_path, {**files, MANIFEST: changed}))
    assert "canonical" in found["pack-manifest"]


def test_a_changed_manifest_in_canonical_form_fails_its_digest(
    tmp_path: Path, files: Files
) -> None:
    record = json.loads(files[MANIFEST])
    record["name"] = "another"
    found = failures(verify_files(tmp_path, {**files, MANIFEST: canonical_json(record)}))
    assert "digest" in found["pack-manifest"]


def test_missing_and_extra_files_are_named(tmp_path: Path, files: Files) -> None:
    less = {name: content for name, content in files.items() if name != "LICENSE"}
    found = failures(verify_files(tmp_path, {**less, "extra.txt": b"?"}))
    assert "LICENSE is missing" in found["pack-files"]
    assert "extra.txt is not in the manifest" in found["pack-files"]


def _shifted(content: bytes) -> bytes:
    """A ``.npy`` of stored values with one of them changed by one step."""
    values = bytearray(content)
    values[-1] ^= 1
    return bytes(values)


def _edited(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def edit(content: bytes) -> bytes:
        assert old in content
        return content.replace(old, new, 1)

    return edit


@pytest.mark.parametrize(
    ("path", "change", "gate"),
    [
        (CONTRACT, _edited(b'"hop": 256', b'"hop": 128'), "pack-contract"),
        (CONTRACT, _edited(b"0.3", b"0.4"), "pack-contract"),
        (CONTRACT, lambda _: b"[" * 100_000, "pack-contract"),
        (MODEL_SOURCE, _edited(b"0x54, 0x46, 0x4c", b"0x54, 0x46, 0x4d"), "pack-c-array"),
        (MODEL_SOURCE, _edited(b"0x54,", b"evil(),"), "pack-c-array"),
        (MODEL_SOURCE, lambda _: b"", "pack-c-array"),
        (MODEL_HEADER, _edited(b"ARENA_BYTES ", b"ARENA_BYTES 1"), "pack-header"),
        (MODEL_HEADER, _edited(b"POINT (-20)", b"POINT (-21)"), "pack-header"),
        (MODEL_HEADER, _edited(b"#define SORDINO_STATE_COUNT 1\n", b""), "pack-header"),
        (MODEL_HEADER, lambda _: b"\xff\xfe", "pack-header"),
        (OP_RESOLVER, _edited(b"resolver.AddConv2D();\n", b""), "pack-operators"),
        (FIGURES, _edited(b'"TFLM arena"', b'"TFLM arenb"'), "pack-header"),
        (FIGURES, lambda _: b"{}", "pack-header"),
        (f"model/{NAME}.json", _edited(b'"CONV_2D": 2', b'"TANH": 2'), "pack-operators"),
        (f"model/{NAME}.json", _edited(b'"tiny"', b'"huge"'), "pack-sidecar"),
        (f"model/{NAME}.json", lambda _: b"{}", "pack-sidecar"),
        (f"model/{NAME}.tflite", lambda content: content + b"\0", "pack-sidecar"),
        ("golden/mask.npy", _shifted, "pack-golden"),
        ("golden/state_memory.npy", _shifted, "pack-golden"),
        ("golden/features.npy", _shifted, "pack-golden"),
        ("golden/signal.npy", lambda content: content[:-4] + b"\0\0\0\x40", "pack-golden"),
        ("golden/mask.npy", lambda content: content[:-1], "pack-golden"),
        ("golden/mask.npy", lambda _: b"", "pack-golden"),
        ("golden/mask.npy", _edited(b"(100, 1,", b"(10**9, "), "pack-golden"),
        (GOLDEN, _edited(b'"frames": 100', b'"frames": 101'), "pack-golden"),
        (GOLDEN, lambda _: b"null", "pack-golden"),
    ],
)
def test_wrong_content_with_right_hashes_is_found(
    tmp_path: Path, files: Files, path: str, change: Callable[[bytes], bytes], gate: str
) -> None:
    found = failures(verify_files(tmp_path, repacked({**files, path: change(files[path])})))
    assert gate in found
    assert found[gate]


@pytest.mark.parametrize("path", [CONTRACT, FIGURES, GOLDEN, MODEL_SOURCE, OP_RESOLVER])
def test_a_part_that_was_never_packed_is_named(tmp_path: Path, files: Files, path: str) -> None:
    rest = {name: content for name, content in files.items() if name != path}
    assert path in failures(verify_files(tmp_path, repacked(rest)))["pack-sidecar"]


def test_a_model_that_engines_refuse_fails(tmp_path: Path, files: Files) -> None:
    """Garbage under a consistent sidecar: the replay runs, and says so."""
    import hashlib

    model, beside = f"model/{NAME}.tflite", f"model/{NAME}.json"
    garbage = bytes(64)
    sidecar = Sidecar.model_validate_json(files[beside])
    stated = sidecar.model.model_copy(
        update={"bytes": len(garbage), "sha256": hashlib.sha256(garbage).hexdigest()}
    )
    changed = sidecar.model_copy(update={"model": stated})
    body = ", ".join("0x00" for _ in garbage)
    header = files[MODEL_HEADER].decode()
    size = f"MODEL_BYTES {sidecar.model.bytes}u"
    altered = {
        model: garbage,
        beside: changed.model_dump_json(by_alias=True).encode(),
        MODEL_SOURCE: f"const unsigned char x[] = {{ {body} }};".encode(),
        MODEL_HEADER: header.replace(size, f"MODEL_BYTES {len(garbage)}u").encode(),
    }
    found = failures(verify_files(tmp_path, repacked({**files, **altered})))
    assert list(found) == ["pack-golden"]
    assert "no sound .tflite file" in found["pack-golden"]


def test_an_engine_that_dies_is_a_failure(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess([], -signal.SIGSEGV, b"", b"")

    monkeypatch.setattr(subprocess, "run", die)
    assert "died of signal 11" in failures(verify_files(tmp_path, files))["pack-golden"]


def test_without_an_engine_the_replay_is_unavailable(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.pack_replay, "reference_engine", lambda target: None)
    results = {result.name: result.verdict for result in verify_files(tmp_path, files)}
    assert results.pop("pack-golden") == "unavailable"
    assert set(results.values()) == {"pass"}


def test_an_arena_that_was_never_measured_is_unavailable(tmp_path: Path, files: Files) -> None:
    figures = [f for f in json.loads(files[FIGURES]) if f["name"] != "TFLM arena"]
    lines = files[MODEL_HEADER].splitlines(keepends=True)
    header = b"".join(line for line in lines if b"#define SORDINO_ARENA_BYTES" not in line)
    changed = repacked({**files, FIGURES: canonical_json(figures), MODEL_HEADER: header})
    results = {result.name: result.verdict for result in verify_files(tmp_path, changed)}
    assert results.pop("pack-arena") == "unavailable"
    assert set(results.values()) == {"pass"}


@pytest.mark.parametrize(
    "name", ["../escape", "/etc/escape", "c/../../escape", "..", "a\\b", "c//x", ".hidden", "ü"]
)
def test_names_that_leave_the_pack_are_refused(tmp_path: Path, files: Files, name: str) -> None:
    path = tmp_path / "slip.zip"
    path.write_bytes(archive({**files, name: b"x"}))
    assert "is no name for a file" in failures(verify_pack(path))["pack-container"]
    record = json.loads(files[MANIFEST])
    record["files"].append({**record["files"][0], "path": name})
    found = failures(verify_files(tmp_path, {**files, MANIFEST: canonical_json(record)}))
    assert "path" in found["pack-manifest"]


def test_links_and_special_files_are_refused(tmp_path: Path) -> None:
    pack = make_pack(tmp_path)
    (pack / "LICENSE").unlink()
    (pack / "LICENSE").symlink_to("/etc/hostname")
    (pack / "elsewhere").symlink_to("/etc")
    os.mkfifo(pack / "pipe")
    (pack / "empty").mkdir()
    detail = failures(verify_pack(pack))["pack-files"]
    for name in ("LICENSE is a symbolic link", "elsewhere is a symbolic link", "pipe is not"):
        assert name in detail
    assert "empty is not a plain file" in detail


def _zip_with(files: Files, write: Callable[[zipfile.ZipFile], None]) -> bytes:
    buffer = io.BytesIO(archive(files))
    with zipfile.ZipFile(buffer, "a") as target:
        write(target)
    return buffer.getvalue()


def _link(target: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = 0o120777 << 16
    target.writestr(entry, "/etc/hostname")


def _bomb(target: zipfile.ZipFile) -> None:
    target.writestr("bomb", bytes(50 << 20), zipfile.ZIP_DEFLATED)


def _twin(target: zipfile.ZipFile) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        target.writestr("LICENSE", "another")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (_link, "not a plain file"),
        (_bomb, "compressed"),
        (_twin, "twice"),
        (lambda target: target.writestr("folder/", b""), "no name"),
    ],
)
def test_hostile_zip_entries_are_refused(
    tmp_path: Path, files: Files, write: Callable[[zipfile.ZipFile], None], reason: str
) -> None:
    path = tmp_path / "hostile.zip"
    path.write_bytes(_zip_with(files, write))
    assert reason in failures(verify_pack(path))["pack-container"]


def test_a_zip_packed_again_or_with_bytes_around_it_is_not_canonical(
    tmp_path: Path, files: Files
) -> None:
    for content in (b"prefix" + archive(files), archive(dict(reversed(files.items()))) + b"\0"):
        path = tmp_path / "around.zip"
        path.write_bytes(content)
        _found(path)


def test_a_pack_larger_than_any_pack_is_not_read(
    tmp_path: Path, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = tmp_path / "huge.zip"
    huge.touch()
    os.truncate(huge, 1 << 40)  # sparse
    with pytest.raises(InputError, match="larger"):
        verify_pack(huge)
    monkeypatch.setattr(runtime.pack_reading, "LARGEST_PACK", 1000)
    with pytest.raises(InputError, match="larger"):
        verify_pack(pack)
    monkeypatch.undo()
    monkeypatch.setattr(runtime.pack_reading, "MOST_FILES", 3)
    with pytest.raises(InputError, match="larger"):
        verify_pack(pack)


def test_what_is_no_pack_is_bad_input(tmp_path: Path) -> None:
    text = tmp_path / "text.zip"
    text.write_text("no zip")
    empty = tmp_path / "empty"
    empty.mkdir()
    other = tmp_path / "other.zip"
    other.write_bytes(archive({"a.txt": b"a"}))
    for path in (text, empty, other, tmp_path / "gone"):
        with pytest.raises(InputError) as caught:
            verify_pack(path)
        assert caught.value.hint
        assert not is_pack(path)


@pytest.mark.parametrize(
    "manifest",
    [
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"schema": ' + b"9" * 100_000 + b"}",
        b"null",
        b"\xff\xfe",
        b"{}",
        b'{"name": "\\ud800"}',
        b"NaN",
    ],
)
def test_hostile_manifests_fail_and_never_crash(tmp_path: Path, manifest: bytes) -> None:
    found = failures(verify_files(tmp_path, {MANIFEST: manifest}))
    assert MANIFEST in found["pack-manifest"]


@quick
@given(st.binary(max_size=400))
def test_any_bytes_are_no_pack(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.zip"
    path.write_bytes(data)
    with pytest.raises(InputError):
        verify_pack(path)


@quick
@given(st.binary(max_size=200))
def test_any_bytes_as_an_array_raise_a_value_error(data: bytes) -> None:
    with pytest.raises((ValueError, SyntaxError)):
        read_array(b"\x93NUMPY\x01\x00" + data, (2, 2), "int8")


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
def test_arrays_come_back_as_numpy_reads_them(dtype: str) -> None:
    values = np.arange(6).reshape(2, 3).astype(dtype)
    content = write_array(values)
    np.testing.assert_array_equal(np.load(io.BytesIO(content)), values)
    np.testing.assert_array_equal(read_array(content, (2, 3), dtype), values)


def test_resolver_methods_have_the_names_of_tflm() -> None:
    contract = Sidecar.model_fields["contract"].annotation
    assert contract is not None
    sidecar = tiny_sidecar(contract(), "tflite-int8")
    operators = dict.fromkeys(load_target("tflite-int8").operators, 1)
    lines = resolver_lines(sidecar.model_copy(update={"operators": operators}))
    expected = {"AveragePool2D", "BatchToSpaceNd", "CumSum", "PadV2", "Relu6", "SelectV2"}
    expected |= {"UnidirectionalSequenceLSTM", "L2Normalization", "DepthwiseConv2D", "AddN"}
    assert {f"resolver.Add{name}();" for name in expected} <= set(lines)
