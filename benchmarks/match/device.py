"""How much of its device an arm used: peak memory, and FLOP/s as a share of the device's peak."""

from __future__ import annotations

import resource
import sys

import torch

# Dense peak FLOP/s by name of the device and precision, from NVIDIA's data sheets (SXM parts,
# without sparsity). fp32 is the figure of the vector units: TF32 is off unless asked for.
PEAKS = {
    "H100": {"bf16": 989.4e12, "fp32": 66.9e12},
    "H200": {"bf16": 989.4e12, "fp32": 66.9e12},
    "A100": {"bf16": 311.9e12, "fp32": 19.5e12},
}


def peak_memory(device: torch.device) -> int:
    """Bytes: the device allocator's peak on a GPU, the process's resident peak on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts in bytes, Linux in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def utilisation(
    flops: float, seconds: float, device: torch.device, precision: str
) -> dict[str, float | str | None]:
    """Achieved FLOP/s and its share of the peak (MFU), or null and the reason why not."""
    gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if gpu else f"device type {device.type}"
    achieved = flops / seconds if seconds > 0 else None
    peak = next((peaks[precision] for key, peaks in PEAKS.items() if key in name), None)
    mfu = None if achieved is None or peak is None else achieved / peak
    reason = f"no published peak for {name}" if peak is None else None
    return {"flops_per_second": achieved, "mfu": mfu, "reason": reason}
