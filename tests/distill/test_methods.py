"""Every method through a recipe's settings: gradients, silence, batches, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from distill.methods import NAMES, Alignment, MethodSettings, build_alignment, wanted_taps
from distill.methods.alignment import TABLE, Estimates
from distill.methods.settings import TapPair
from distill.taps import capture, tap_shapes
from distill.unet import UNet, UNetConfig
from distill.views import Batch, TapShape, View
from runtime.stft import StftContract
from targets.errors import InputError

ADAPTER: TypeAdapter[MethodSettings] = TypeAdapter(MethodSettings)
METHODS = [name for name in NAMES if name != "none"]
OF_OUTPUTS = [name for name in METHODS if isinstance(TABLE[name], Estimates)]
OF_ACTIVATIONS = [name for name in METHODS if name not in OF_OUTPUTS]
WIDE = {"cosine-latent": {"width": 36}}  # wide enough for any shapes here
OF_BATCHES = ["similarity", "relational"]  # these compare the items of a batch


def parse(content: Mapping[str, Any]) -> MethodSettings:
    return ADAPTER.validate_python(content)


def build(name: str, student: TapShape, teacher: TapShape, **options: Any) -> Alignment:
    content = {"method": name, "weight": 1.0, **options}
    if name in OF_ACTIVATIONS:
        content["taps"] = [{"student": "s", "teacher": "t"}]
    torch.manual_seed(1)
    return build_alignment([parse(content)], {"s": student}, {"t": teacher})


def views(
    student: Tensor, teacher: Tensor, active: Tensor, seed: int = 5
) -> tuple[View, View, Batch]:
    """Views of these activations, with estimates that differ from each other and the target."""
    generator = torch.Generator().manual_seed(seed)
    shape = (*active.shape, 7)
    clean, one, other = (
        torch.randn(shape, dtype=torch.complex128, generator=generator) for _ in range(3)
    )
    batch = Batch(clean + one, clean, active, torch.ones(shape[0], 1, 1, dtype=active.dtype), 0.3)
    return View(clean + one, {"s": student}), View(clean + 0.5 * other, {"t": teacher}), batch


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def value_and_gradient(alignment: Alignment, *sides: Any) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient at what the method sees of the student."""
    student, teacher, batch = sides
    leaf = student.taps["s"].clone().requires_grad_()
    estimate = student.estimate.clone().requires_grad_()
    value = alignment(View(estimate, {"s": leaf}), teacher, batch)
    value.backward()
    gradient = leaf.grad if leaf.grad is not None else estimate.grad
    assert gradient is not None
    return value.detach(), gradient


@pytest.mark.parametrize("name", METHODS)
def test_gradients_are_numerically_right(name: str) -> None:
    student, teacher = random(3, 3, 2, 2, seed=1), random(3, 3, 3, 4, seed=2)
    active = torch.tensor([[1.0, 1, 0], [1, 1, 1], [0, 1, 1]], dtype=torch.float64)
    options: dict[str, Any] = {"bins": 3} if name == "selective" else {}
    if name == "cosine-latent":
        options["width"] = 12
    alignment = build(name, TapShape(2, 2), TapShape(3, 4), **options).double()
    ours, theirs, batch = views(student, teacher, active)

    def loss(leaf: Tensor) -> Tensor:
        seen = View(leaf, {}) if name in OF_OUTPUTS else View(ours.estimate, {"s": leaf})
        return alignment(seen, theirs, batch)

    leaf = ours.estimate if name in OF_OUTPUTS else student
    assert torch.autograd.gradcheck(loss, leaf.clone().requires_grad_())


@pytest.mark.parametrize("name", METHODS)
def test_silence_costs_nothing_and_moves_nothing(name: str) -> None:
    zeros = torch.zeros(3, 4, 2, 5, dtype=torch.float64)
    active = torch.zeros(3, 4, dtype=torch.float64)
    alignment = build(name, TapShape(2, 5), TapShape(2, 5)).double()
    silence = torch.zeros(3, 4, 7, dtype=torch.complex128)
    scale = torch.full((3, 1, 1), 1e5, dtype=torch.float64)
    batch = Batch(silence, silence, active, scale, 0.3)
    sides = View(silence, {"s": zeros}), View(silence, {"t": zeros}), batch
    value, gradient = value_and_gradient(alignment, *sides)
    assert value == 0.0
    assert (gradient == 0.0).all()
    # What networks do in silent frames does not matter to the methods that look inside.
    if name in OF_ACTIVATIONS:
        noise = View(silence, {"s": random(3, 4, 2, 5, seed=1)})
        loud = View(silence, {"t": random(3, 4, 2, 5, seed=2)})
        value, gradient = value_and_gradient(alignment, noise, loud, batch)
        assert value == 0.0
        assert (gradient == 0.0).all()


@pytest.mark.parametrize("name", OF_ACTIVATIONS)
def test_what_is_in_silent_frames_makes_no_difference(name: str) -> None:
    student, teacher = random(4, 5, 2, 3, seed=1), random(4, 5, 2, 3, seed=2)
    active = torch.ones(4, 5, dtype=torch.float64)
    active[0, 1:3] = active[2, 4] = 0.0
    alignment = build(name, TapShape(2, 3), TapShape(2, 3)).double()
    before = alignment(*views(student, teacher, active))
    other = student.clone()
    other[active == 0.0] *= -3.0
    assert alignment(*views(other, teacher, active)).item() == pytest.approx(before.item())
    other[active == 1.0] *= torch.rand(3, dtype=torch.float64)
    assert alignment(*views(other, teacher, active)).item() != pytest.approx(before.item(), 1e-3)


@pytest.mark.parametrize("name", OF_ACTIVATIONS)
@pytest.mark.parametrize("constant", [0.0, 1.0, -1e-3])
def test_constant_features_give_a_finite_loss_and_gradient(name: str, constant: float) -> None:
    student = torch.full((4, 5, 2, 3), constant)
    active = torch.ones(4, 5)
    alignment = build(name, TapShape(2, 3), TapShape(2, 4))
    for teacher in (torch.full((4, 5, 2, 4), constant), torch.randn(4, 5, 2, 4)):
        value, gradient = value_and_gradient(alignment, *views(student, teacher, active))
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", METHODS)
def test_a_student_like_its_teacher_has_nothing_to_learn(name: str) -> None:
    same = random(4, 5, 2, 3, seed=1)
    active = torch.ones(4, 5, dtype=torch.float64)
    alignment = build(name, TapShape(2, 3), TapShape(2, 3)).double()
    with torch.no_grad():
        for weight in alignment.parameters():
            weight.copy_(torch.eye(len(weight)) if weight.dim() == 2 else torch.zeros(len(weight)))
    student, _, batch = views(same, same, active)
    value = alignment(student, View(student.estimate, {"t": same}), batch)
    assert value.item() == pytest.approx(0.0, abs=1e-5)
    assert alignment(*views(same, random(4, 5, 2, 3, seed=2), active)).item() > 1e-2


def test_the_opposite_direction_costs_two() -> None:
    alignment = build("cosine-latent", TapShape(1, 3), TapShape(1, 3)).double()
    with torch.no_grad():
        alignment.get_parameter("losses.0.0.widen.weight").copy_(torch.eye(3))
    latent, active = random(2, 5, 1, 3, seed=1), torch.ones(2, 5, dtype=torch.float64)
    value = alignment(*views(latent, -4.0 * latent, active))
    assert value.item() == pytest.approx(2.0, abs=1e-5)


@pytest.mark.parametrize("name", OF_ACTIVATIONS)
@pytest.mark.parametrize("gains", [(1.0, 1e3), (1e-2, 1.0), (50.0, 0.02)])
def test_scales_do_not_matter(name: str, gains: tuple[float, float]) -> None:
    student, teacher = random(4, 5, 2, 3, seed=1), random(4, 5, 2, 3, seed=2)
    active = torch.ones(4, 5, dtype=torch.float64)
    alignment = build(name, TapShape(2, 3), TapShape(2, 3)).double()
    before = alignment(*views(student, teacher, active)).item()
    if name == "hint":  # the scale is the regressor's to learn
        with torch.no_grad():
            for key, weight in alignment.named_parameters():
                weight.mul_(gains[1] / gains[0] if key.endswith("weight") else gains[1])
    after = alignment(*views(gains[0] * student, gains[1] * teacher, active)).item()
    assert after == pytest.approx(before, rel=1e-4)


@pytest.mark.parametrize("name", OF_OUTPUTS)
def test_the_level_of_a_recording_does_not_matter(name: str) -> None:
    alignment = build(name, TapShape(1, 1), TapShape(1, 1))
    empty = torch.zeros(2, 4, 1, 1, dtype=torch.float64)
    student, teacher, batch = views(empty, empty, torch.ones(2, 4, dtype=torch.float64))
    before = alignment(student, teacher, batch).item()
    quiet = Batch(0.01 * batch.noisy, 0.01 * batch.clean, batch.active, 100.0 * batch.scale, 0.3)
    after = alignment(View(0.01 * student.estimate), View(0.01 * teacher.estimate), quiet).item()
    assert after == pytest.approx(before)


@pytest.mark.parametrize("name", METHODS)
def test_two_halves_average_to_the_whole_unless_items_are_compared(name: str) -> None:
    student, teacher = random(6, 4, 2, 3, seed=1), random(6, 4, 3, 5, seed=2)
    active = torch.ones(6, 4, dtype=torch.float64)
    active[0, 1:] = active[4] = 0.0
    alignment = build(name, TapShape(2, 3), TapShape(3, 5)).double()
    ours, theirs, batch = views(student, teacher, active)
    whole = alignment(ours, theirs, batch).item()
    halves = []
    for part in (slice(0, 3), slice(3, 6)):
        half = Batch(
            batch.noisy[part], batch.clean[part], batch.active[part], batch.scale[part], 0.3
        )
        one = View(ours.estimate[part], {"s": student[part]})
        other = View(theirs.estimate[part], {"t": teacher[part]})
        halves.append(alignment(one, other, half).item())
    same = whole == pytest.approx(sum(halves) / 2, rel=1e-9)
    assert same == (name not in OF_BATCHES)


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_shapes_give_a_finite_loss(name: str, data: st.DataObject) -> None:
    size = st.integers(1, 6)
    batch, time = data.draw(st.integers(3, 5)), data.draw(size)
    ours = TapShape(data.draw(size), data.draw(size))
    theirs = TapShape(data.draw(size), data.draw(size))
    alignment = build(name, ours, theirs, **WIDE.get(name, {}))
    active = (torch.rand(batch, time) > 0.3).float()
    sides = views(torch.randn(batch, time, *ours), torch.randn(batch, time, *theirs), active)
    value, gradient = value_and_gradient(alignment, *sides)
    assert value >= -1e-6
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", METHODS)
def test_no_gradient_reaches_the_teacher(name: str) -> None:
    alignment = build(name, TapShape(1, 3), TapShape(1, 3)).double()
    leaf = random(3, 4, 1, 3, seed=2).requires_grad_()
    ours, theirs, batch = views(
        random(3, 4, 1, 3, seed=1).requires_grad_(), leaf, torch.ones(3, 4, dtype=torch.float64)
    )
    estimate = theirs.estimate.requires_grad_()
    student = View(ours.estimate.requires_grad_(), ours.taps)
    alignment(student, theirs, batch).backward()
    assert leaf.grad is None
    assert estimate.grad is None


@pytest.mark.parametrize("name", METHODS)
def test_a_student_that_is_free_learns(name: str) -> None:
    alignment = build(name, TapShape(2, 3), TapShape(3, 5), **WIDE.get(name, {}))
    active = torch.ones(4, 6, dtype=torch.float64)
    ours, theirs, batch = views(
        random(4, 6, 2, 3, seed=1), random(4, 6, 3, 5, seed=2), active, seed=3
    )
    alignment = alignment.double()
    estimate = ours.estimate.clone().requires_grad_()
    activation = ours.taps["s"].clone().requires_grad_()
    optimiser = torch.optim.Adam([estimate, activation, *alignment.parameters()], 0.05)
    values = []
    for _ in range(100):
        optimiser.zero_grad()
        value = alignment(View(estimate, {"s": activation}), theirs, batch)
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[-1] < 0.5 * values[0]


@pytest.mark.parametrize(("name", "items"), [("similarity", 1), ("relational", 2)])
def test_too_few_items_to_compare_are_refused(name: str, items: int) -> None:
    alignment = build(name, TapShape(1, 3), TapShape(1, 3))
    value = torch.randn(items, 4, 1, 3)
    with pytest.raises(InputError, match="items of a batch"):
        alignment(*views(value, value, torch.ones(items, 4)))


def test_relational_distances_alone_need_two_items() -> None:
    alignment = build("relational", TapShape(1, 3), TapShape(1, 4), angle=0.0)
    sides = views(torch.randn(2, 4, 1, 3), torch.randn(2, 4, 1, 4), torch.ones(2, 4))
    assert alignment(*sides).item() == pytest.approx(0.0, abs=1e-6)  # one distance, over its mean


@pytest.mark.parametrize("width", [None, 5])
def test_a_bottleneck_that_narrows_is_refused(width: int | None) -> None:
    with pytest.raises(InputError, match="narrow") as caught:
        build("cosine-latent", TapShape(1, 8), TapShape(1, 4), width=width)
    for part in ("'s'", "'t'", "8 channels", "4 channels"):
        assert part in caught.value.message
    assert "at least 8" in caught.value.hint
    build("cosine-latent", TapShape(1, 8), TapShape(1, 4), width=8)


@pytest.mark.parametrize("name", METHODS)
def test_frames_that_do_not_match_are_refused(name: str) -> None:
    alignment = build(name, TapShape(1, 3), TapShape(1, 3))
    ours, _, batch = views(torch.randn(3, 4, 1, 3), torch.randn(3, 4, 1, 3), torch.ones(3, 4))
    _, theirs, _ = views(torch.randn(3, 5, 1, 3), torch.randn(3, 5, 1, 3), torch.ones(3, 5))
    with pytest.raises(InputError, match=r"3, 4.*3, 5"):
        alignment(ours, theirs, batch)


@pytest.mark.parametrize("name", METHODS)
def test_half_precision_is_computed_in_single(name: str) -> None:
    alignment = build(name, TapShape(1, 4), TapShape(1, 4))
    ours, theirs, batch = views(torch.randn(3, 4, 1, 4), torch.randn(3, 4, 1, 4), torch.ones(3, 4))
    coarse = (
        View(ours.estimate, {"s": ours.taps["s"].bfloat16()}),
        View(theirs.estimate, {"t": theirs.taps["t"].bfloat16()}),
    )
    single = [View(view.estimate, {k: v.float() for k, v in view.taps.items()}) for view in coarse]
    with torch.autocast("cpu", torch.bfloat16):
        value = alignment(*coarse, batch)
    assert torch.equal(value, alignment(*single, batch))


def test_methods_add_up_through_real_networks() -> None:
    student = UNet(UNetConfig(widths=(2, 3), hidden=4))
    teacher = UNet(UNetConfig(widths=(3, 4, 5), hidden=6))
    contract = StftContract()
    methods = [parse({"method": name, "weight": 0.1 * (i + 1)}) for i, name in enumerate(METHODS)]
    paths = [path for path, _ in teacher.named_modules() if path]
    ours, theirs = wanted_taps(methods, student, paths)
    assert ours == ["bottleneck.latent", "encoder.1", "encoder.0"]
    assert theirs == ["bottleneck.latent", "encoder.2", "encoder.1"]
    alignment = build_alignment(
        methods, tap_shapes(student, ours, contract), tap_shapes(teacher, theirs, contract)
    )
    features = torch.randn(3, 3, 5, contract.bins)
    with capture(student, ours) as found:
        student(features)
    with torch.no_grad(), capture(teacher, theirs) as known:
        teacher(features)
    shape = (3, 5, contract.frequencies)
    clean, one, other = (torch.randn(shape, dtype=torch.complex64) for _ in range(3))
    batch = Batch(clean + one, clean, torch.ones(3, 5), torch.ones(3, 1, 1), 0.3)
    sides = View(clean + one, found), View(clean + 0.1 * other, known), batch
    values = [value.item() for value in alignment.values(*sides)]
    total = alignment(*sides)
    assert min(values) > 0.0
    assert total.item() == pytest.approx(sum(0.1 * (i + 1) * v for i, v in enumerate(values)))
    total.backward()
    gradient = student.get_parameter("encoder.0.conv.weight").grad
    assert gradient is not None
    assert gradient.abs().sum() > 0.0


@pytest.mark.parametrize("teacher", ["gru", "dual"])
@pytest.mark.parametrize("student", ["gru", "dual"])
def test_latents_of_any_bottleneck_are_aligned(student: str, teacher: str) -> None:
    torch.manual_seed(0)
    ours = UNet(UNetConfig(bins=32, widths=(2, 3), hidden=4, bottleneck=student))
    theirs = UNet(UNetConfig(bins=32, widths=(3, 4), hidden=6, bottleneck=teacher))
    contract, path = StftContract(bins=32), ["bottleneck.latent"]
    settings_ = parse({"method": "cosine-latent", "weight": 1.0, "width": 16})
    shapes = (tap_shapes(network, path, contract) for network in (ours, theirs))
    alignment = build_alignment([settings_], *shapes)
    features, shape = torch.randn(3, 3, 6, 32), (3, 6, contract.frequencies)
    clean = torch.randn(shape, dtype=torch.complex64)
    batch = Batch(clean, clean, torch.ones(3, 6), torch.ones(3, 1, 1), 0.3)
    with torch.no_grad(), capture(theirs, path) as known:
        theirs(features)
    learning = torch.optim.Adam([*ours.parameters(), *alignment.parameters()], 0.02)
    values = []
    for _ in range(12):
        with capture(ours, path) as found:
            ours(features)
        value = alignment(View(clean, found), View(clean, known), batch)
        learning.zero_grad()
        value.backward()
        learning.step()
        values.append(value.item())
    assert values[-1] < 0.8 * values[0]


def test_no_method_is_a_loss_of_zero() -> None:
    alignment = build_alignment([], {}, {})
    empty = torch.zeros(1, 2, 1, 1)
    assert alignment(*views(empty, empty, torch.ones(1, 2))).item() == 0.0
    assert not list(alignment.parameters())


def test_the_weight_of_a_method_does_not_grow_with_its_taps() -> None:
    shapes = {"a": TapShape(1, 3), "b": TapShape(1, 3)}
    taps = {name: random(3, 4, 1, 3, seed=1) for name in shapes}
    theirs = {name: random(3, 4, 1, 3, seed=2) for name in shapes}
    active = torch.ones(3, 4, dtype=torch.float64)
    estimate = torch.zeros(3, 4, 7, dtype=torch.complex128)
    batch = Batch(estimate, estimate, active, torch.ones(3, 1, 1), 0.3)
    values = []
    for paths in (["a"], ["a", "b"]):
        method = parse({"method": "attention", "weight": 1.0, "taps": paths})
        alignment = build_alignment([method], shapes, shapes)
        values.append(alignment(View(estimate, taps), View(estimate, theirs), batch).item())
    assert values[0] == pytest.approx(values[1])


class Foreign(nn.Module):
    """Without an encoder or a bottleneck, as networks of others are."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(2, 2) for _ in range(30))


@pytest.mark.parametrize("name", OF_ACTIVATIONS)
def test_default_taps_that_do_not_exist_ask_for_taps(name: str) -> None:
    paths = [path for path, _ in Foreign().named_modules() if path]
    network = UNet(UNetConfig(widths=(2, 3), hidden=4))
    with pytest.raises(InputError, match=f"{name} taps 'bottleneck.latent' by default") as caught:
        wanted_taps([parse({"method": name})], network, paths)
    assert "Name its `taps`" in caught.value.hint
    assert caught.value.hint.count("blocks.") == 19, "`blocks` and the first nineteen"
    assert "and 11 more" in caught.value.hint


def test_a_tap_that_does_not_exist_names_the_side_and_the_closest() -> None:
    network = UNet(UNetConfig(widths=(2, 3), hidden=4))
    for taps, owner in (
        ({"student": "bottleneck.laten", "teacher": "blocks.1"}, "student"),
        ({"student": "bottleneck.latent", "teacher": "block.1"}, "teacher"),
    ):
        with pytest.raises(InputError, match=owner) as caught:
            wanted_taps([parse({"method": "hint", "taps": [taps]})], network, ["blocks.1"])
        assert "Did you mean" in caught.value.hint
        assert "There are: " in caught.value.hint


def test_a_layout_goes_along_with_its_tap() -> None:
    pair = {"student": "bottleneck.latent", "teacher": "blocks.1:bct"}
    network = UNet(UNetConfig(widths=(2, 3), hidden=4))
    method = parse({"method": "hint", "taps": [pair]})
    ours, theirs = wanted_taps([method], network, ["blocks.1"])
    assert (ours, theirs) == (["bottleneck.latent"], ["blocks.1:bct"])
    build_alignment([method], {ours[0]: TapShape(1, 4)}, {theirs[0]: TapShape(1, 2)})


def test_taps_are_given_once_for_both_sides_or_apart() -> None:
    method = parse({"method": "hint", "taps": ["a", {"student": "b:bct", "teacher": "c"}]})
    assert method.model_dump()["taps"] == (
        TapPair(student="a", teacher="a").model_dump(),
        TapPair(student="b:bct", teacher="c").model_dump(),
    )
    assert parse(method.model_dump(mode="json")) == method


@pytest.mark.parametrize(
    "content",
    [
        {"method": "cosine"},
        {"method": "none"},
        {"method": "hint", "weight": -0.1},
        {"method": "hint", "width": 3},
        {"method": "output", "taps": ["a"]},
        {"method": "hint", "taps": ["a:bb"]},
        {"method": "hint", "taps": [{"student": "a"}]},
        {"method": "selective", "share": 0.0},
        {"method": "selective", "share": 1.5},
        {"method": "cosine-latent", "width": 0},
    ],
)
def test_settings_that_mean_nothing_are_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse(content)


def test_settings_are_hashable_values() -> None:
    one, other = (parse({"method": "hint", "taps": ["a"]}) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
