"""What a command ends with: tables no wider than the terminal, one summary, what to type next."""

import pytest

from benchmarks.report import screen

WIDE = dict.fromkeys(("absrel_object", "absrel", "delta1", "rmse", "lpips_alex", "log10"), 0.5)


def timed(record, seconds):
    return record.model_copy(
        update={"volatile": record.volatile.model_copy(update={"device_seconds": seconds})}
    )


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_a_table_fits_the_terminal_and_says_where_the_rest_is(record, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    several = [timed(record(name, value=WIDE), 200.0) for name in ("crossflow", "flow_matching")]
    text = screen.comparison_table([*several, record("floor", value=WIDE)])
    assert max(map(len, text.splitlines())) <= width
    header = next(line.split() for line in text.splitlines() if line.startswith("method"))
    assert header[:3] == ["method", "absrel_object", "↓"]
    assert "rmse" not in header and "log10" not in header, "these do not matter enough"
    assert ("seconds" in header, "delta1" in header) == (width >= 60, width >= 100)
    said = " ".join(text.split())
    assert f"{13 - sum(cell not in '↑↓' for cell in header)} more columns in CSV" in said


def test_predictions_of_others_have_no_empty_columns(record):
    text = screen.comparison_table([record("mymodel", kind="evaluation", value=0.25)])
    assert "NFE" not in text and "–" not in text
    assert ["mymodel", "(predictions", "only)", "0.25"] in map(str.split, text.splitlines())


def test_the_summary_puts_seeds_together_and_tells_what_failed(record):
    done = [timed(record(seed=seed, value=0.1 + 0.1 * seed), 100.0 + seed) for seed in range(3)]
    done += [record("floor", value=0.9), record("flow_matching", status="failed")]
    done += [timed(record(task="sr_tabletop", config={"quick": True}), 7.0)]
    lines = [line.split() for line in screen.summary(done).splitlines()]
    assert ["absrel_object", "↓", "flow_matching", "0.9", "(1", "of", "1", "failed)", "–"] in lines
    assert ["2e+13", "flops", "an", "arm", "crossflow", "0.2", "±", "0.1", "101"] in lines
    assert lines[-4][:2] == ["sr_tabletop,", "iid"] and "7" in lines[-4]
    assert lines[-1] == "quick: not for comparison".split()


@pytest.mark.parametrize(
    ("statuses", "failed", "out", "last"),
    [
        ([0], False, "results/local", "next: python -m benchmarks.report html"),
        ([0, 0], False, "my results", "next: python -m benchmarks.report html --out 'my results'"),
        ([0, 2], False, "o", "next: the same command again; it keeps what is completed"),
        ([1], True, "o", "next: the same command again; it keeps what is completed"),
        ([1], False, "o", "next: python -m benchmarks.report html --out o"),  # check=true
    ],
)
def test_the_last_line_is_what_to_type_next(record, statuses, failed, out, last):
    lines = screen.closing([record(status="failed" if failed else "completed")], statuses, out)
    assert lines[-1] == last
    bad = sum(map(bool, statuses))
    said = f"{len(statuses)} jobs, {bad} of them failed or were refused" in lines
    assert said == (len(statuses) > 1)
