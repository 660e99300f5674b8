"""GenEval's layout and result file: what it reads is written, what it writes is read whole."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.config import registry
from benchmarks.config.schema import Config, TaskConfig
from benchmarks.match.outside import evaluate
from benchmarks.metrics import geneval
from benchmarks.records import record as records
from crossflow.errors import InputError


def metadata():
    """As many prompts of each task as GenEval has; a prompt may stand twice."""
    return [
        {"tag": tag, "include": [{"class": "cup", "count": 1}], "prompt": f"{tag}, no {i // 2}"}
        for tag, count in geneval.PROMPTS.items()
        for i in range(count)
    ]


def write_lines(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture
def prompt_file(tmp_path):
    return write_lines(tmp_path / "evaluation_metadata.jsonl", metadata())


@pytest.fixture
def prompts(prompt_file):
    return geneval.read_prompts(prompt_file)


def result_rows(prompts, correct=lambda index, number: number == 0):
    """As evaluate_images.py:198-208 writes them, in the order of a folder listing: any."""
    rows = [
        {
            "filename": f"out/{index:05d}/samples/{number:05d}.png",
            "tag": prompt["tag"],
            "prompt": prompt["prompt"],
            "correct": correct(index, number),
            "metadata": json.dumps(prompt),
        }
        for index, prompt in enumerate(prompts)
        for number in range(4)
    ]
    return rows[::-1]


def test_the_real_list_of_prompts(bench_data):
    path = bench_data / "lists/prompts/geneval_evaluation_metadata.jsonl"
    prompts = geneval.read_prompts(path)
    assert len(prompts) == 553 == sum(geneval.PROMPTS.values())
    assert prompts[0]["prompt"] == "a photo of a bench"


def test_task_scores_are_means_over_images_and_overall_the_mean_of_tasks(tmp_path, prompts):
    """summary_scores.py; the overall score is not the mean over all images."""

    def correct(index, number):
        return number < {"counting": 4, "colors": 3}.get(prompts[index]["tag"], 0)

    path = write_lines(tmp_path / "results.jsonl", result_rows(prompts, correct))
    scored = geneval.geneval_scores(prompts, geneval.read_results(path, prompts))
    values = {name: score.value for name, score in scored.scores.items()}
    expected = {f"geneval_{tag}": 0.0 for tag in geneval.PROMPTS}
    expected |= {"geneval_counting": 1.0, "geneval_colors": 0.75, "geneval_overall": 1.75 / 6}
    assert values == pytest.approx(expected, rel=1e-12)
    assert values["geneval_overall"] != pytest.approx((80 + 0.75 * 94) / 553, rel=1e-3)
    assert scored.scores["geneval_counting"].n == 80 and scored.scores["geneval_overall"].n == 553
    assert scored.items["geneval"][80 + 99] == 1.0 and scored.items["id"][1] == "00001"


def test_the_error_of_a_task_is_that_of_its_prompts(prompts):
    correct = [[index % 2 == 0] * 4 for index in range(553)]
    scored = geneval.geneval_scores(prompts, correct)
    task = scored.scores["geneval_position"]
    assert (task.value, task.stderr) == (0.5, pytest.approx((0.25 * 100 / 99 / 100) ** 0.5))
    squares = sum(scored.scores[f"geneval_{tag}"].stderr ** 2 for tag in geneval.PROMPTS)
    assert scored.scores["geneval_overall"].stderr == pytest.approx(squares**0.5 / 6)


def change(**fields):
    return lambda rows: rows[5].update(fields)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda rows: rows.pop(), r"1 of 553 prompts have not 4 images, .*: 00000 has 3"),
        (lambda rows: rows.append(rows[3]), r"one that stands twice: .*00552/samples/00000.png"),
        (
            lambda rows: rows.append({**rows[3], "filename": "x/00552/samples/00004.png"}),
            r"1 of 553 prompts have not 4 images, .*: 00552 has 5",
        ),
        (change(tag="colors"), r"no image of .* 'tag': 'colors', 'prompt': 'color_attr"),
        (change(correct=1), r"no image of the list of prompts"),
        (change(filename="00551/00000.png"), r"no image of .*'filename': '00551/00000.png'"),
        (change(filename="00553/samples/00000.png"), r"no image of the list of prompts"),
        (lambda rows: rows.__setitem__(0, [1]), "a line is no JSON object"),
    ],
)
def test_an_incomplete_result_file_is_refused(tmp_path, prompts, damage, reason):
    rows = result_rows(prompts)
    damage(rows)
    path = write_lines(tmp_path / "results.jsonl", rows)
    with pytest.raises(InputError, match=reason):
        geneval.read_results(path, prompts)


def test_other_lists_of_prompts_are_refused(tmp_path):
    path = write_lines(tmp_path / "less.jsonl", metadata()[:-1])
    with pytest.raises(InputError, match=r"not GenEval's prompts, .*'color_attr': 99"):
        geneval.read_prompts(path)
    write_lines(path, [*metadata(), {"tag": "counting"}])
    with pytest.raises(InputError, match=r"not GenEval's prompts, .*'no prompt': 1"):
        geneval.read_prompts(path)
    path.write_text('{"tag": ')
    with pytest.raises(InputError, match=r"less.jsonl line 1: not JSON"):
        geneval.read_prompts(path)
    with pytest.raises(InputError, match=r"lost.jsonl: not a text file"):
        geneval.read_prompts(tmp_path / "lost.jsonl")


def test_samples_lie_where_geneval_looks_for_them(tmp_path, prompts):
    def images(index):
        return [np.full((8, 8, 3), index * 10 + number, np.uint8) for number in range(4)]

    geneval.write_samples(tmp_path / "out", prompts[:3], images)
    for index in range(3):
        folder = tmp_path / "out" / f"{index:05d}"
        # evaluate_images.py:225-234: json.load of the whole file, samples by \d+\.png
        assert json.loads((folder / "metadata.jsonl").read_text()) == prompts[index]
        names = sorted(path.name for path in (folder / "samples").iterdir())
        assert names == ["00000.png", "00001.png", "00002.png", "00003.png"]
        with Image.open(folder / "samples" / "00003.png") as picture:
            assert np.asarray(picture)[0, 0, 0] == index * 10 + 3
    with pytest.raises(InputError, match="exists already, GenEval would score old samples"):
        geneval.write_samples(tmp_path / "out", prompts[:3], images)
    with pytest.raises(ValueError, match="shorter"):
        geneval.write_samples(tmp_path / "few", prompts, lambda index: images(index)[:1])


def config(tmp_path, prompt_file, predictions, **task):
    fields = {"name": "t2i_geneval", "split": "test", "split_file": str(prompt_file)} | task
    places = {"out": str(tmp_path / "records"), "work": str(tmp_path / "work")}
    return Config(task=TaskConfig(**fields), predictions=str(predictions), name="mymodel", **places)


def test_a_result_file_becomes_a_record(tmp_path, prompt_file, prompts, capsys):
    path = write_lines(tmp_path / "results.jsonl", result_rows(prompts))
    for given in (path, tmp_path):
        assert evaluate(config(tmp_path, prompt_file, given)) == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("record")]
    assert printed[0] == printed[1], "a file and its folder are the same predictions"
    record = records.read(next((tmp_path / "records" / "records" / "t2i_geneval").iterdir()))
    assert (record.kind, record.method) == ("evaluation", "mymodel")
    assert record.scores["geneval_overall"].value == 0.25
    assert set(record.scores) == {"geneval_overall", *(f"geneval_{t}" for t in geneval.PROMPTS)}
    assert record.fair.score["primary"] == "geneval_overall"
    truth = registry.load_task("t2i_geneval")(config(tmp_path, prompt_file, tmp_path)).test
    assert truth.read(tmp_path) == [[True, False, False, False]] * 553
    assert truth.cell(truth.read(tmp_path), 0) == "1 of 4 correct"
    assert truth.cells(0) == ("single_object, no 0", "single_object")


def test_what_the_task_cannot_do_is_said(tmp_path, prompt_file):
    task = registry.load_task("t2i_geneval")
    with pytest.raises(InputError, match=r"task.split_file is not set: give GenEval's list"):
        task(config(tmp_path, prompt_file, tmp_path, split_file=None)).items("test")
    with pytest.raises(InputError, match=r"task.limit=5: GenEval is scored on all"):
        task(config(tmp_path, prompt_file, tmp_path, limit=5)).items("test")
    given = task(config(tmp_path, prompt_file, tmp_path))
    with pytest.raises(InputError, match="nothing to train on"):
        given.prepare()
    with pytest.raises(InputError, match=r"no results.jsonl"):
        given.test.read(tmp_path / "lost")
