"""How much of its device an arm used: peak memory, and FLOP/s as a share of the device's peak."""

from __future__ import annotations

import resource
import sys

import torch

# By name of the device: dense peak FLOP/s by precision, bytes/s and bytes of its memory, from
# NVIDIA's data sheets (SXM parts, without sparsity; RTX 4090: the Ada white paper, products summed
# in fp32). fp32 is the figure of the vector units: TF32 is off unless asked for.
PEAKS = {
    "H100": {"bf16": 989.4e12, "fp32": 66.9e12, "bandwidth": 3.35e12, "memory": 80e9},
    "H200": {"bf16": 989.4e12, "fp32": 66.9e12, "bandwidth": 4.8e12, "memory": 141e9},
    "A100": {"bf16": 311.9e12, "fp32": 19.5e12, "bandwidth": 2.039e12, "memory": 80e9},
    "RTX 4090": {"bf16": 165.2e12, "fp32": 82.6e12, "bandwidth": 1.008e12, "memory": 24e9},
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
