"""The four tasks of the embedded world: stores, what decodes, what scores, framing rows."""

import json

import numpy as np
import pytest

from benchmarks.codecs import caption as caption_codec
from benchmarks.config import registry
from benchmarks.data.images import enlarge, shrink
from benchmarks.tabletop import captions as words
from benchmarks.tabletop import render
from benchmarks.tasks import caption_tabletop, tabletop
from crossflow.errors import InputError
from crossflow.problem import TokenShape
from crossflow.store import unstandardise
from tests.fixtures.tasks import configured, rows_are_in_step, share_no_picture

TASKS = ("depth_tabletop", "sr_tabletop", "t2i_tabletop", "caption_tabletop")
TRAIN, VALIDATION, TEST = 24, 4, 6


def task_of(name, work, report=lambda *_: None, **changed):
    fields = {"train_limit": TRAIN, "validation_limit": VALIDATION, "limit": TEST} | changed
    return registry.load_task(name)(configured(name, work, **fields), report)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """prepared(name): a task made ready, once for all tests."""
    work = tmp_path_factory.mktemp("work")
    made = {}

    def get(name):
        if name not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(caption_tabletop, "CODEC_STEPS", 4)
                made[name] = task_of(name, work).prepare()
        return made[name]

    return get


@pytest.mark.parametrize("name", TASKS)
def test_stores_fit_the_problem(prepared, name):
    ready = prepared(name)
    sizes = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    for part, count in sizes.items():
        store = getattr(ready, part)
        assert len(store) == count
        pair = store.pairs(list(range(count)))
        assert tuple(pair.target.shape[1:]) == ready.problem.target.sizes
        if isinstance(ready.problem.source, TokenShape):
            assert pair.source.values.max() < ready.problem.source.vocabulary
        else:
            assert tuple(pair.source.values.shape[1:]) == ready.problem.source.sizes
    train = ready.train.pairs(list(range(TRAIN)))
    assert train.target.mean().abs() < 0.2
    assert 0.5 < train.target.std() < 1.5


@pytest.mark.parametrize("name", TASKS)
def test_splits_share_no_scene_and_batches_lose_none(prepared, name):
    assert share_no_picture(prepared(name))
    assert rows_are_in_step(prepared(name).truth)


@pytest.mark.parametrize("name", TASKS)
def test_predictions_go_to_disk_and_back(prepared, tmp_path, name):
    """What is written is read back and scores the same; ids of test rows and truth agree."""
    ready = prepared(name)
    assert list(ready.truth.ids) == ready.test.ids
    floor = ready.floor()
    ready.truth.write(tmp_path, floor)
    again = ready.truth.read(tmp_path)
    for one, other in zip(floor, again, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", ["depth_tabletop", "sr_tabletop", "t2i_tabletop"])
def test_floor_and_oracle_frame_the_scores(prepared, name):
    ready = prepared(name)
    target = ready.test.pairs(list(range(TEST))).target
    oracle = ready.decode(unstandardise(target, ready.test.statistics["target"]))
    scores = [ready.truth.score(values).scores for values in (ready.floor(), oracle)]
    assert scores[0].keys() == scores[1].keys()
    metric = {"depth_tabletop": "absrel_object", "sr_tabletop": "psnr_rgb"}.get(name, "scene_match")
    floor, best = scores[0][metric], scores[1][metric]
    assert floor.better == best.better
    assert (best.value - floor.value) * (1 if floor.better == "higher" else -1) > 0


def test_a_source_taken_as_it_is_decodes_to_itself(prepared):
    """Super-resolution starts from the bicubic picture: a flow that stands still keeps it."""
    ready = prepared("sr_tabletop")
    for index, large in enumerate(ready.floor()):
        assert np.array_equal(large, enlarge(shrink(ready.truth.picture(index), 4), 4))
    for part in (ready.train, ready.test):
        rows = list(range(len(part)))
        start = unstandardise(part.pairs(rows).source.values, part.statistics["target"])
        raw = part.read("source", rows, [0] * len(rows))
        np.testing.assert_allclose(start.numpy(), raw, rtol=1e-4, atol=1e-4)


def rendered(work, report=lambda *_: None):
    return task_of("depth_tabletop", work, report, limit=8, size=64).test


def test_two_processes_that_render_the_same_publish_whole_arrays(tmp_path, monkeypatch):
    """The second starts while the first has made half, and is the first to finish."""
    monkeypatch.setattr(tabletop, "RENDER_BATCH", 4)
    second, seen = rendered(tmp_path), []

    def half_way(stage, done, total):
        if not seen:
            seen.append(np.array(second.pictures))

    pictures = rendered(tmp_path, half_way).pictures
    assert np.array_equal(pictures, seen[0])
    assert np.array_equal(pictures, rendered(tmp_path / "alone").pictures)
    (folder,) = tmp_path.glob("tabletop/v*/iid-8")
    assert [path.name for path in folder.iterdir()] == ["images"]


def test_an_interrupted_rendering_leaves_nothing_that_opens(tmp_path):
    def interrupt(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _ = rendered(tmp_path, interrupt).pictures
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["images.npy", "sha256.json"])
def test_damaged_scenes_are_put_aside_and_made_again(tmp_path, capsys, name):
    pictures = np.array(rendered(tmp_path).pictures)
    (folder,) = tmp_path.glob("tabletop/v*/iid-8/images")
    content = bytearray((folder / name).read_bytes())
    content[-1000 if name == "images.npy" else 3] ^= 1
    (folder / name).write_bytes(content)
    assert np.array_equal(pictures, rendered(tmp_path).pictures)
    told = f"{folder} is damaged (its files are not those of sha256.json): put aside as images."
    assert told in capsys.readouterr().err
    assert len(list(folder.parent.iterdir())) == 2


def test_a_killed_codec_training_is_started_again(tmp_path, monkeypatch):
    """Whatever validation_limit is, the codec, its card and its file are the same."""
    monkeypatch.setattr(caption_tabletop, "CODEC_STEPS", 2)

    def codec(**changed):
        return task_of("caption_tabletop", tmp_path, **changed).frozen["caption_codec"]

    def killed(codec, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(caption_codec, "save_codec", killed)
        with pytest.raises(KeyboardInterrupt):
            codec()
    facts = codec()
    assert facts["measured_on_scenes"] == caption_tabletop.CODEC_MEASURED
    assert codec(validation_limit=2) == facts
    (kept,) = (tmp_path / "codecs").iterdir()
    weights = kept / "codec.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert codec() == facts
    assert sorted(path.name for path in kept.parent.iterdir()) == [
        kept.name,
        f"{kept.name}.damaged-1",
    ]


def test_the_key_names_items_and_truth(prepared, tmp_path):
    """Other items or another size: other key. The same again: the same key."""

    def key(**changed):
        truth = task_of("depth_tabletop", tmp_path, **changed).test
        return json.dumps(truth.key(), sort_keys=True)

    assert key() == key()
    assert len({key(), key(limit=5), key(size=64), key(split="crowd"), key(nonfinite="bts")}) == 5


@pytest.mark.parametrize("name", TASKS)
def test_the_key_does_not_depend_on_rendered_bits(tmp_path, monkeypatch, name):
    """Another processor's last bits, here a picture and a map that differ: the same key."""

    def key(folder):
        return json.dumps(task_of(name, tmp_path / folder).test.key(), sort_keys=True)

    mine = key("mine")
    pictures, maps = render.render, render.depth_map
    monkeypatch.setattr(render, "render", lambda *given: 255 - pictures(*given))
    monkeypatch.setattr(
        render, "depth_map", lambda *given: (maps(*given)[0] + 1e-6, maps(*given)[1])
    )
    assert key("other") == mine


def test_training_depth_is_a_sensors_scoring_depth_is_clean(prepared):
    ready = prepared("depth_tabletop")
    test = unstandardise(ready.test.pairs([0]).target, ready.test.statistics["target"])
    assert np.allclose(np.exp(test[0, 0].numpy()), ready.truth.maps[0][0], rtol=1e-4)
    train = unstandardise(ready.train.pairs([0]).target, ready.train.statistics["target"])
    error = np.exp(train[0, 0].numpy()) / ready.truth.task.train.maps[0][0] - 1
    assert 1e-4 < np.abs(error).mean() < 0.2


def test_captions_of_text_to_image_take_the_levels_in_turn(prepared):
    ready = prepared("t2i_tabletop")
    truth, five = ready.truth, ready.truth.captions
    assert [c.text for c in truth.stated] == [five[i][i % 5].text for i in range(TEST)]
    numbers = [10 * int(scene) + i % 5 for i, scene in enumerate(truth.indices)]
    assert [int(name) for name in truth.ids] == numbers
    given = ready.test.pairs(list(range(TEST))).source.values.tolist()
    assert given == [list(words.encode(caption.text)) for caption in truth.stated]


def test_a_true_caption_scores_high_and_an_unreadable_one_nothing(prepared):
    truth = prepared("caption_tabletop").truth
    full = [five[words.FULL].text for five in truth.captions]
    # All it states is true; it leaves out some sizes and materials, which costs coverage only.
    found = [words.scene_f1(t, s) for t, s in zip(full, truth.scenes, strict=True)]
    assert min(found) > 0.7
    assert max(found) == 1
    assert truth.score(["the the of"] * TEST).scores["scene_f1"].value == 0


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("depth_tabletop", {"size": 48}),
        ("sr_tabletop", {"scale": 3}),
        ("t2i_tabletop", {"split": "val"}),
    ],
)
def test_wrong_options_are_named(tmp_path, name, changed):
    field, value = next(iter(changed.items()))
    with pytest.raises(InputError, match=f"task.{field}={value}: this task takes"):
        task_of(name, tmp_path, **changed).prepare()
