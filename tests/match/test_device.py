"""The share of a device's peak, and why there is none."""

import pytest
import torch

from benchmarks.match.device import utilisation
from benchmarks.report import references


def test_mfu_is_the_share_of_the_named_peak_or_null_with_the_reason(monkeypatch):
    report = utilisation(1e12, 4.0, torch.device("cpu"), "fp32")
    assert (report["flops_per_second"], report["mfu"]) == (2.5e11, None)
    assert "no published peak" in report["reason"]
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    report = utilisation(989.4e12, 2.0, torch.device("cuda"), "bf16")
    assert report["mfu"] == pytest.approx(0.5)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Abacus")
    assert "Abacus" in utilisation(1.0, 1.0, torch.device("cuda"), "bf16")["reason"]


def test_what_a_cpu_says_of_its_utilisation():
    """The class `seeded` hangs on this sentence."""
    reason = utilisation(1.0, 1.0, torch.device("cpu"), "fp32")["reason"]
    assert str(reason).endswith(references.ON_A_CPU)
