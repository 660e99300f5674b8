import pytest
import torch

from crossflow.clock import Throughput, utilisation


def feed(rates, window=30.0):
    throughput, samples, seconds = Throughput(window), 0, 0.0
    for rate in rates:
        samples, seconds = samples + int(rate * window), seconds + window
        throughput.update(samples, seconds)
    return throughput


def test_windows_hold_samples_per_second():
    assert feed([10, 12, 11]).windows == [10, 12, 11]


def test_a_window_closes_only_when_it_is_full():
    throughput = Throughput(30)
    throughput.update(100, 29.9)
    assert throughput.windows == []
    throughput.update(120, 30.0)
    assert throughput.windows == [4.0]


def test_a_wide_spread_invalidates_the_clock():
    assert feed([100, 101, 100, 99, 100]).verdict == "valid"
    assert feed([100, 90, 110, 80, 120]).verdict == "invalid: clock"
    # Quartiles 95 and 100 around a median of 100 are exactly 5 %: still valid.
    assert feed([95, 95, 100, 100, 100]).verdict == "valid"
    assert feed([94, 94, 100, 100, 100]).verdict == "invalid: clock"


def test_one_window_judges_nothing():
    assert feed([100]).verdict.startswith("not judged: 1 windows")


def test_state_goes_on_in_the_middle_of_a_window():
    first = feed([10])
    first.update(400, 40.0)
    second = Throughput(30)
    second.restore(first.state())
    second.update(900, 60.0)
    assert second.windows == [10, 20]


def test_mfu_is_null_with_the_reason_where_the_peak_is_unknown():
    report = utilisation(1e12, 4.0, torch.device("cpu"), "fp32")
    assert report["flops_per_second"] == 2.5e11
    assert report["mfu"] is None
    assert "no published peak" in report["reason"]


def test_mfu_is_the_share_of_the_named_peak(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    report = utilisation(989.4e12, 2.0, torch.device("cuda"), "bf16")
    assert report["mfu"] == pytest.approx(0.5)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Abacus")
    assert "Abacus" in utilisation(1.0, 1.0, torch.device("cuda"), "bf16")["reason"]
