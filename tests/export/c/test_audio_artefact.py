"""The audio path among the files of an export."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.unet import UNet, preset
from export.c.generator import generate
from export.rehearsal import rehearse
from runtime.contract import CONTRACTS, StftContract
from runtime.engines.native import find_compiler
from runtime.generated_c import model_name, network_files
from targets.errors import InputError
from tests.export.c.conftest import FileOf
from tests.export.c.support import HOST_COMPILERS, compile_c, write

ODD = StftContract(window="asymmetric_sqrt_hann", window_length=384, hop=64, bins=128)


def test_c_is_exported_with_the_path_of_its_contract() -> None:
    network = UNet(preset("tiny"))
    made = rehearse(network, CONTRACTS["phone"], "tiny", "c-int8", arena=False).sidecar
    files = [source.file for source in made.sources]
    assert files == [
        "model.h",
        "sordino_kernels.h",
        "model_audio.c",
        "model_audio.h",
        "sordino_audio.h",
    ]
    assert made.memory["audio_ram"] > 4 * (512 + 512 + 514)
    assert made.memory["audio_constants"] > 4 * (512 + 512)


def test_a_contract_without_a_fast_transform_exports_the_step_alone() -> None:
    network = UNet(preset("tiny").model_copy(update={"bins": 128}))
    made = rehearse(network, ODD, "tiny", "c-int8", arena=False).sidecar
    assert [source.file for source in made.sources] == ["model.h", "sordino_kernels.h"]
    assert "audio_ram" not in made.memory


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
@pytest.mark.parametrize("dtype", ["int8", pytest.param("float32", marks=pytest.mark.slow)])
def test_the_struct_has_the_size_that_is_stated(
    file_of: FileOf, dtype: str, tmp_path: Path
) -> None:
    made = generate(file_of(preset("tiny"), dtype), "ear", CONTRACTS["phone"])
    size = made.ram_bytes + made.audio_ram_bytes
    check = (
        f'#include "ear_audio.h"\ntypedef char as_stated[sizeof(ear_audio_t) == {size} ? 1 : -1];\n'
    )
    write(dict(made.files) | {"check.c": check.encode()}, tmp_path)
    compile_c(HOST_COMPILERS[0], tmp_path, "-c", "check.c", "ear.c", "ear_audio.c")
    assert made == generate(file_of(preset("tiny"), dtype), "ear", CONTRACTS["phone"])


def test_the_models_file_is_known_beside_its_audio_path(file_of: FileOf) -> None:
    files = generate(file_of(preset("tiny"), "int8"), "ear", CONTRACTS["phone"]).files
    assert model_name(files) == "ear"
    assert set(files) - set(network_files(files)) == {"ear_audio.c"}
    for strange in ({"x.c"}, {"../x.h"}, {"other.c"}, {"ear_audio.txt"}):
        with pytest.raises(InputError, match="not those of this model"):
            model_name({*files, *strange})
