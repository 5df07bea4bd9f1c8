import pytest
import timm
import torch

from sed_model.config.training import Optim
from sed_model.core.errors import ConfigError
from sed_model.model.devices import (
    Runtime,
    choose_runtime,
    cpu_is_faster_in_bf16,
    emulation_note,
    exchange_batch_statistics,
    prediction_runtime,
)

needs_cpu_only = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is chosen where there is one")


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", None), ("bf16", torch.bfloat16)])
def test_precision_is_the_one_asked_for(precision: str, dtype: torch.dtype | None) -> None:
    runtime = choose_runtime(Optim(precision=precision))  # type: ignore[arg-type]
    assert runtime.autocast_dtype is dtype
    with runtime.autocast():
        product = torch.nn.Linear(4, 4).to(runtime.device)(torch.ones(1, 4, device=runtime.device))
    assert product.dtype is (dtype or torch.float32)


@needs_cpu_only
def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"optim\.precision=fp16: a CPU has no fast fp16; use auto, bf16 or fp32"):
        choose_runtime(Optim(precision="fp16"))


@needs_cpu_only
def test_auto_is_fp32_or_bf16_on_a_cpu() -> None:
    assert choose_runtime(Optim()).autocast_dtype in (None, torch.bfloat16)


@pytest.mark.parametrize(
    ("flags", "max_isa", "native"),
    [
        ("vendor_id : AuthenticAMD flags : fpu avx512f avx512_bf16 avx512_vnni", "", True),
        ("vendor_id : GenuineIntel flags : fpu avx512_bf16 amx_bf16 amx_tile", "DEFAULT", True),
        ("vendor_id : AuthenticAMD flags : fpu avx512f avx512_bf16", "AVX512_CORE_BF16", True),
        ("vendor_id : GenuineIntel flags : fpu avx512_bf16 avx512_fp16", "", False),  # measured: a VM without AMX
        ("vendor_id : GenuineIntel flags : fpu avx512_bf16 amx_bf16", "AVX512_CORE_BF16", False),
        ("vendor_id : GenuineIntel flags : fpu avx512f avx512_vnni", "", False),  # Kaggle's
        ("vendor_id : AuthenticAMD flags : fpu avx512f avx512_bf16", "avx512_core_vnni", False),
        ("vendor_id : AuthenticAMD flags : fpu not_avx512_bf16", "", False),
        ("", "", False),
    ],
)
def test_auto_is_bf16_where_the_cpu_is_faster_in_it(flags: str, max_isa: str, native: bool) -> None:
    assert cpu_is_faster_in_bf16(flags, max_isa) is native


def test_asking_for_bf16_where_it_is_slower_is_told_with_the_figure() -> None:
    told = emulation_note("bf16", "--precision", native=False)
    assert told.startswith("--precision bf16: this CPU has no fast instructions for bf16, 1.5 to 3 times slower")
    assert emulation_note("bf16", native=True) == emulation_note("auto", native=False) == ""


@needs_cpu_only
def test_precision_follows_the_cpu_that_predicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that was trained in bf16 or fp16 predicts on any machine; one trained in fp32 does so in fp32."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")
    for precision in ("auto", "fp32", "bf16", "fp16"):
        assert prediction_runtime(Optim(precision=precision)).autocast_dtype is None
    assert choose_runtime(Optim()).autocast_dtype is None
    assert choose_runtime(Optim(precision="bf16")).autocast_dtype is torch.bfloat16  # as asked for


def test_weights_and_images_lie_channels_last_where_asked_for() -> None:
    images = torch.rand(2, 2, 8, 8)
    for channels_last in (True, False):
        runtime = Runtime(torch.device("cpu"), None, channels_last)
        kernel = runtime.place(torch.nn.Conv2d(2, 4, 3)).weight
        for tensor in (kernel, runtime.images(images)):
            assert isinstance(tensor, torch.Tensor)
            assert tensor.is_contiguous(memory_format=torch.channels_last) is channels_last


def test_rank_and_world_size_are_passed_on() -> None:
    runtime = choose_runtime(Optim(), rank=1, world_size=4)
    assert (runtime.rank, runtime.world_size) == (1, 4)


BF16 = Runtime(torch.device("cpu"), torch.bfloat16)


def depthwise(kernel: int) -> torch.nn.Conv2d:
    torch.manual_seed(0)
    return torch.nn.Conv2d(8, 8, kernel, padding=kernel // 2, groups=8, bias=False)


def test_wide_depthwise_convolutions_are_trained_in_fp32_with_the_type_of_their_input() -> None:
    exact, placed = depthwise(5), BF16.place(depthwise(5))
    x = torch.rand(2, 8, 16, 16).bfloat16()
    with BF16.autocast():
        output = placed(x)
    assert output.dtype == torch.bfloat16
    output.float().square().sum().backward()
    exact(x.float()).bfloat16().float().square().sum().backward()
    torch.testing.assert_close(next(placed.parameters()).grad, exact.weight.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("kernel", "runtime"), [(3, BF16), (5, Runtime(torch.device("cpu"), None))])
def test_other_convolutions_are_left_alone(kernel: int, runtime: Runtime) -> None:
    plain, placed = depthwise(kernel), runtime.place(depthwise(kernel))
    x = torch.rand(2, 8, 16, 16)
    with runtime.autocast():
        assert torch.equal(placed(x), plain(x))


def test_predictions_stay_in_bf16() -> None:
    plain, placed = depthwise(5), BF16.place(depthwise(5))
    x = torch.rand(2, 8, 16, 16)
    with torch.no_grad(), BF16.autocast():
        assert torch.equal(placed(x), plain(x))


def test_a_model_that_is_placed_twice_is_the_same() -> None:
    placed = BF16.place(BF16.place(depthwise(5)))
    x = torch.rand(2, 8, 16, 16)
    with BF16.autocast():
        assert torch.equal(placed(x), BF16.place(depthwise(5))(x))
    assert list(placed.state_dict()) == ["weight"]


def test_exchanged_batch_statistics_change_neither_weights_nor_predictions() -> None:
    """Training with them needs several GPUs."""
    torch.manual_seed(0)
    model = timm.create_model("test_efficientnet", in_chans=1, num_classes=2).eval()
    images = torch.rand(2, 1, 32, 32)
    names, expected = list(model.state_dict()), model(images)
    norms = sum(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    for _ in range(2):  # placed twice
        model = exchange_batch_statistics(model)
        assert torch.equal(model(images), expected)
        assert list(model.state_dict()) == names
        assert sum(isinstance(module, torch.nn.SyncBatchNorm) for module in model.modules()) == norms > 0
