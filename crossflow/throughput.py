"""How fast an arm trains: throughput over windows of 30 s, achieved FLOP/s, MFU.

Seconds are a fair budget only on a device that runs steadily. Where the interquartile range of
the windows exceeds 5 % of their median, a run under device_seconds says `invalid: clock`.
"""

from __future__ import annotations

import resource
import statistics
import sys

import torch

WINDOW_SECONDS = 30.0
STEADY = 0.05

# Dense peak FLOP/s by name of the device and precision, from NVIDIA's data sheets (SXM parts,
# without sparsity). fp32 is the figure of the vector units: TF32 is off unless asked for.
PEAKS = {
    "H100": {"bf16": 989.4e12, "fp32": 66.9e12},
    "H200": {"bf16": 989.4e12, "fp32": 66.9e12},
    "A100": {"bf16": 311.9e12, "fp32": 19.5e12},
}


class Throughput:
    """Samples a second of the train ledger, window by window.

    windows: samples/s of each full window of 30 s; a rest shorter than that is not judged.
    """

    def __init__(self, window: float = WINDOW_SECONDS) -> None:
        self.window = window
        self.windows: list[float] = []
        self._start = (0, 0.0)

    def update(self, samples: int, seconds: float) -> None:
        """Call after each step with the totals so far; closes the window when it is full."""
        elapsed = seconds - self._start[1]
        if elapsed >= self.window:
            self.windows.append((samples - self._start[0]) / elapsed)
            self._start = (samples, seconds)

    @property
    def verdict(self) -> str:
        """`valid`, `invalid: clock`, or why it cannot be judged."""
        if len(self.windows) < 2:
            return f"not judged: {len(self.windows)} windows of {self.window:g} s"
        lower, median, upper = statistics.quantiles(self.windows, n=4, method="inclusive")
        return "valid" if upper - lower <= STEADY * median else "invalid: clock"

    def report(self) -> dict[str, object]:
        """For the record: the windows and what they say of the clock."""
        return {"window_seconds": self.window, "windows": self.windows, "verdict": self.verdict}

    def state(self) -> dict[str, object]:
        return {"windows": self.windows, "start": list(self._start)}

    def restore(self, state: dict) -> None:
        self.windows = [float(value) for value in state["windows"]]
        samples, seconds = state["start"]
        self._start = (int(samples), float(seconds))


def peak_memory(device: torch.device) -> int:
    """Bytes: the device allocator's peak on a GPU, the process's resident peak on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def utilisation(
    flops: float, seconds: float, device: torch.device, precision: str
) -> dict[str, float | str | None]:
    """Achieved FLOP/s and its share of the peak (MFU), or null and the reason why not."""
    achieved = flops / seconds if seconds > 0 else None
    if device.type != "cuda":
        reason = f"no published peak for device type {device.type}"
        return {"flops_per_second": achieved, "mfu": None, "reason": reason}
    name = torch.cuda.get_device_name(device)
    peaks = next((peaks for key, peaks in PEAKS.items() if key in name), None)
    if peaks is None or achieved is None:
        reason = f"peak of {name} is not in the table" if peaks is None else "nothing trained yet"
        return {"flops_per_second": achieved, "mfu": None, "reason": reason}
    return {"flops_per_second": achieved, "mfu": achieved / peaks[precision], "reason": None}
