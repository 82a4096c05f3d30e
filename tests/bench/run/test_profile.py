"""What a profile says is costly: each kernel once."""

from __future__ import annotations

from types import SimpleNamespace

from torch._C._autograd import DeviceType

from bench.run.profile import _costliest


def _row(key: str, microseconds: float, *, on: DeviceType, annotation: bool = False) -> object:
    return SimpleNamespace(
        key=key,
        count=2,
        self_device_time_total=microseconds,
        device_type=on,
        is_user_annotation=annotation,
    )


def test_a_kernel_counts_once_though_its_time_is_kept_twice() -> None:
    rows = [
        _row("aten::conv2d", 0, on=DeviceType.CPU),
        _row("aten::cudnn_convolution", 30, on=DeviceType.CPU),
        _row("aten::add", 10, on=DeviceType.CPU),
        _row("sm90_xmma_fprop", 30, on=DeviceType.CUDA),
        _row("elementwise_kernel", 10, on=DeviceType.CUDA),
        _row("ProfilerStep#2", 40, on=DeviceType.CPU, annotation=True),
        _row("ProfilerStep#2", 40, on=DeviceType.CUDA, annotation=True),
    ]
    shares = {name: share for share, name, _ in _costliest(rows, "self_device_time_total")}  # type: ignore[arg-type]
    assert shares == {"aten::cudnn_convolution": 0.75, "aten::add": 0.25, "aten::conv2d": 0.0}
