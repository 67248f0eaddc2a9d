"""The generated audio path as an object: what it computes and what it refuses."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from export.c.generator import generate
from runtime.artefact import C_MODEL, Artefact, ModelFile, load_artefact, source_files
from runtime.contract import CONTRACTS, StftContract
from runtime.denoiser import StreamingDenoiser, attenuation_floor
from runtime.engines import EngineMissing, open_engine
from runtime.engines.native import find_compiler
from runtime.engines.native_audio import NativeAudio, open_audio
from targets.errors import InputError
from tests.export.edited import rewritten
from tests.runtime.tiny_models import Format, Kernel, copy_weight, write_artefact
from tests.runtime.verification.edited_models import sealed, with_states

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
LIMIT_DB = 12.0


def c_of(origin: Artefact) -> Artefact:
    """The C of a TFLite artefact with its audio path, in a folder beside it."""
    sidecar = origin.sidecar
    content = rewritten(origin.path.read_bytes(), with_states)
    files = generate(content, C_MODEL.removesuffix(".c"), sidecar.contract).files
    folder = origin.path.parent / "c"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_bytes(text)
    sources = tuple(
        ModelFile(file=name, bytes=len(text), sha256=hashlib.sha256(text).hexdigest())
        for name, text in files.items()
        if name != C_MODEL
    )
    target = sidecar.target.replace("tflite", "c")
    described = sidecar.model_copy(update={"target": target, "sources": sources})
    return sealed(folder / C_MODEL, described)


def listening(folder: Path, target: Format, contract: StftContract) -> Artefact:
    """A mask that follows this frame and the one before."""
    weight = copy_weight()[:2].repeat(2, axis=1)
    return write_artefact(folder, target, Kernel((0.6, 0.1), 0.2 * weight), contract)


def noise(contract: StftContract, hops: int) -> np.ndarray:
    sound = 0.1 * np.random.default_rng(0).standard_normal((hops, contract.hop))
    return sound.astype(np.float32)


@needs_compiler
@pytest.mark.parametrize("name", CONTRACTS)
@pytest.mark.parametrize(("target", "engine"), [("tflite-fp32", "litert"), ("tflite-int8", "tflm")])
def test_a_hop_in_c_is_a_hop_in_python(
    tmp_path: Path, target: Format, engine: str, name: str
) -> None:
    """The whole path, network and its memory included, against another engine under numpy."""
    if engine == "tflm":
        pytest.importorskip("tflite_micro", reason="the C is that of TFLM")
    contract = CONTRACTS[name]
    origin = listening(tmp_path, target, contract)
    audio = open_audio(c_of(origin))
    audio.limit_attenuation(attenuation_floor(LIMIT_DB))
    python = StreamingDenoiser(origin.sidecar, open_engine(origin, engine), LIMIT_DB)
    hops = noise(contract, 60)
    wanted = np.concatenate([python.push(hop) for hop in hops]).astype(np.float64)
    found = np.concatenate([audio.push(hop) for hop in hops])
    error = float(np.sum((found - wanted) ** 2))
    assert 10 * np.log10(np.sum(wanted**2) / error) > (60.0 if engine == "tflm" else 110.0)


@needs_compiler
def test_it_lists_its_files_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    artefact = c_of(listening(tmp_path, "tflite-int8", CONTRACTS["phone"]))
    listed = {source.file for source in artefact.sidecar.sources}
    assert listed >= {"model_audio.c", "model_audio.h", "sordino_audio.h"}
    assert open_engine(artefact).name == "native"  # the step alone, as before
    changed = artefact.path.with_name("model_audio.c")
    changed.write_bytes(changed.read_bytes() + b"\n")
    with pytest.raises(InputError, match=r"model_audio\.c is not the file"):
        load_artefact(artefact.path)


@needs_compiler
def test_sources_without_an_audio_path_are_refused(tmp_path: Path) -> None:
    artefact = c_of(listening(tmp_path, "tflite-int8", CONTRACTS["phone"]))
    sources = source_files(artefact)
    del sources["model_audio.c"]
    with pytest.raises(InputError, match="no audio path"):
        NativeAudio(sources, artefact.sidecar)


@needs_compiler
def test_a_block_of_another_length_is_refused(tmp_path: Path) -> None:
    audio = open_audio(c_of(listening(tmp_path, "tflite-int8", CONTRACTS["mcu"])))
    with pytest.raises(ValueError, match="a block is 128 samples"):
        audio.push(np.zeros(256, np.float32))


def test_without_a_compiler_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artefact = c_of(listening(tmp_path, "tflite-int8", CONTRACTS["phone"]))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EngineMissing) as missing:
        open_audio(artefact)
    assert "apt install gcc" in missing.value.hint
