"""What stands on the report page, without a browser: content, escaping, equal bytes."""

import hashlib
import html
import random
import re

import numpy as np
import pytest

from benchmarks.records import samples
from benchmarks.report import command, page
from benchmarks.report.rows import boards

CHAIN = {"every": 1, "steps": 2, "value": "b" * 64, "marks": {"1": "a" * 64, "2": "b" * 64}}
HOSTILE = "</script><script>alert(1)</script> & \"quoted\" 'single' {{7*7}} <!-- ${x}"


def text_of(records, out):
    return page.files(records, out)["index.html"]


def with_proof(record, **proof):
    fair = record.fair.model_copy(update={"proof": record.fair.proof | proof})
    return record.model_copy(update={"fair": fair})


@pytest.fixture
def match(record):
    """Floor and two arms, one of which has a proof."""
    proof = {"training_ids": CHAIN, "guidance_trials": [1.0, 1.5]}
    proof |= {"params_ratio_to_crossflow": 1.02, "same_ids_as": {"flow_matching": True}}
    crossflow = with_proof(record("crossflow", value=0.3), **proof)
    return [record("floor", value=0.9), crossflow, record("flow_matching", value=0.4)]


def write_depth(out, record, row, ids=("000", "001"), shift=0.0):
    cells = [np.full((4, 6), 1.0 + number + shift, np.float32) for number in range(len(ids))]
    samples.write(out, record.task, row, list(ids), cells)


def test_the_command_writes_one_file_that_loads_nothing(match, written, capsys):
    out = written(match)
    assert command.main(["html", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'index.html'}\n"
    text = (out / "index.html").read_text("utf-8")
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", text)
    assert not re.search(r"https?://", text)
    assert "default-src 'none'; img-src data:;" in html.unescape(text)
    assert not re.search(r"<[^>]* (style|on\w+)=", text), "the policy forbids such attributes"


def test_the_same_records_in_any_order_give_the_same_bytes(match, record, tmp_path):
    records = [*match, *(record("crossflow", seed=seed, value=0.3) for seed in (1, 2))]
    for one in records:
        write_depth(tmp_path, one, one.run_id)
    first = text_of(records, tmp_path)
    random.Random(1).shuffle(records)
    assert text_of(records, tmp_path) == first


def test_the_answer_comes_first_and_the_tables_after_it(match, tmp_path):
    text = text_of(match, tmp_path)
    sentence = "crossflow (0.3) is ahead of flow_matching (0.4): one seed, no verdict"
    parts = (sentence, "data:image/svg+xml", 'id="matrix"', 'id="depth_tabletop"')
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert re.search(r'<th scope="row">floor</th><td class="n">0\.9</td>', text)
    assert "Published numbers" not in text


def test_text_of_records_is_shown_as_text(record, tmp_path):
    one = record(run_id="r1", value={HOSTILE: 0.5}, score={"primary": HOSTILE})
    volatile = one.volatile.model_copy(update={"command": HOSTILE, "device": HOSTILE})
    one = with_proof(one, frozen={HOSTILE: HOSTILE}).model_copy(update={"volatile": volatile})
    for row in (one.run_id, f"truth-{one.score_key}"):
        samples.write(tmp_path, one.task, row, ["000"], [HOSTILE])
    text = text_of([one], tmp_path)
    assert "<script>alert" not in text and text.count("</script>") == 1
    assert text.count("{{7*7}}") > 5 and html.escape(HOSTILE, quote=False)[:30] in text


def test_quick_records_are_marked_and_do_not_answer(match, record, tmp_path):
    shown = re.sub(r"<script>.*?</script>", "", text_of(match, tmp_path), flags=re.DOTALL)
    assert "quick: not for comparison" not in shown
    quick = record("crossflow", config={"quick": True}, fair={"rules": {"quick": True}})
    text = text_of([quick], tmp_path)
    assert "No trained arms that may be compared" in text and 'id="matrix"' not in text
    assert text.count("quick: not for comparison") == 2 and "not_comparable" in text
    beside = text_of([*match, quick], tmp_path)
    assert re.search(r"<summary>[^/]*</code>: quick: not for comparison", beside), "folded"


def test_published_numbers_stand_apart(record, tmp_path):
    text = text_of([record(task="depth_nyu")], tmp_path)
    assert '<div class="apart">' in text and "published, not re-run" in text


def test_the_proof_of_the_records_is_shown_and_what_is_absent_too(match):
    (board,) = boards(match)
    table = page._table("", page.PROOF, page._proof(board))
    without, proved = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    assert (without["arm"], without["same ids as"]) == ("flow_matching", "–")
    chain = f'{{"every":1,"steps":2,"value":"{"b" * 64}"}}'
    assert proved["training ids"] == chain, "without the marks"
    assert proved["same ids as"] == '{"flow_matching":true}'
    assert proved["params ratio to crossflow"] == "1.02"
    assert proved["guidance trials"] == "[1.0, 1.5]"


def test_both_keys_are_digests_of_the_texts_beside_them(match, tmp_path):
    text = html.unescape(text_of(match, tmp_path))
    keys = dict(re.findall(r"_key (\w{12}): <code>(.*?)</code>", text))
    assert keys.keys() == {match[1].score_key, match[1].fair_key}
    for key, fields in keys.items():
        assert hashlib.sha256(fields.encode()).hexdigest()[:12] == key


@pytest.mark.parametrize("name", ["samples/depth_tabletop/{}.png", "curves/depth_tabletop/{}.csv"])
def test_a_bad_file_beside_the_records_is_one_line(name, record, written, capsys):
    one = record("crossflow")
    out = written([one])
    path = out / name.format(one.run_id)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nothing")
    assert command.main(["html", "--out", str(out)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert str(path) in error and not (out / "index.html").exists()


def test_the_gallery_has_an_item_a_row_and_an_arm_a_column(match, tmp_path):
    floor, crossflow, _ = match
    write_depth(tmp_path, floor, floor.run_id)
    write_depth(tmp_path, crossflow, crossflow.run_id, ids=("001", "002"), shift=1.0)
    write_depth(tmp_path, floor, f"truth-{floor.score_key}")
    ((task, shown),) = page._galleries(boards(match), tmp_path)
    assert (task, shown.header[1:4]) == (floor.task, ["source", "truth", "floor"])
    assert shown.header[4:] == [f"{m}, 2×10¹³ FLOPs" for m in ("flow_matching", "crossflow")]
    assert "depth from 1 m (bright) to 2 m (dark)" in shown.notes, "the truth's range, for all"
    cells = {row[0]: row[1:] for row in shown.rows}
    assert list(cells) == ["000", "001", "002"]
    assert cells["000"][0] == cells["000"][3] == cells["000"][4] == "–", "no such sample"
    assert ' width="6" height="4" alt="001, truth">' in cells["001"][1], "native pixels"
    assert str(cells["001"][1]) in text_of(match, tmp_path)
