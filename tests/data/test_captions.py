"""COCO's and Karpathy's files: what is read, and what is refused."""

import shutil

import numpy as np
import pytest
from PIL import Image

from benchmarks.config.schema import Config
from benchmarks.data.captions import CROPPED, SQUASHED, Caption, Photo, Pictures, scored
from crossflow.errors import InputError

VAL = "annotations/captions_val2014.json"
DATASET = "dataset_coco.json"


def coco(root, split=None, split_file=None, layout="coco", **options):
    config = Config()
    config.task.root, config.task.split = str(root), split
    config.task.split_file = None if split_file is None else str(split_file)
    return scored(config, layout, lambda *_: None, **options)


def karpathy(root, split=None, split_file=None, **options):
    return coco(root, split, split_file, "karpathy", **options)


def test_published_splits(coco_root):
    val, train = coco(coco_root), coco(coco_root, train=True)
    assert (val.name, train.name, val.cleaned) == ("val2014", "train2014", 0)
    assert [photo.id for photo in val.photos] == list(range(101, 113))
    assert [len(photo.captions) for photo in val.photos] == [6] * 12
    assert [photo.id for photo in train.photos] == list(range(1, 25))
    assert train.photos[0].captions[2] == Caption(12, "A cat stands near the bus number 1.")
    trained = karpathy(coco_root, train=True)
    assert [photo.id for photo in trained.photos] == [*range(1, 25), *range(101, 107)]
    for split, ids in ((None, [110, 111, 112]), ("val", [107, 108, 109])):
        assert [p.id for p in karpathy(coco_root, split).photos] == ids


def test_both_readers_agree_whatever_the_order_of_the_file(coco_root, edited):
    """Karpathy's sentid and cocoid are COCO's own ids."""
    edited(coco_root / VAL, lambda c: c["annotations"].reverse() or c["images"].reverse())
    photos = coco(coco_root).photos
    assert [p.id for p in photos] == sorted(p.id for p in photos)
    assert all([c.id for c in p.captions] == sorted(c.id for c in p.captions) for p in photos)
    official = {p.id: p for p in photos}
    for photo in karpathy(coco_root).photos:
        assert photo.path == official[photo.id].path
        assert photo.captions == official[photo.id].captions[:5]


def test_five_captions_are_trained_on():
    captions = tuple(Caption(k, f"caption {k}") for k in range(7))
    photo = Photo(1, None, captions, 1)
    assert photo.trained == [f"caption {k}" for k in range(5)]
    few = Photo(1, None, captions[:2], 1)
    assert few.trained == ["caption 0", "caption 1", "caption 0", "caption 1", "caption 0"]


@pytest.mark.parametrize("character", ["\r", "\u2028", "\x85", "\x00", "\n", "\ud83d"])
def test_control_characters_become_spaces_and_are_counted(coco_root, edited, character):
    """Such a caption would move every later one to another image."""

    def change(content):
        content["annotations"][3]["caption"] = f" A red{character}dog "

    edited(coco_root / VAL, change)
    split = coco(coco_root)
    assert split.cleaned == 1
    assert split.photos[0].captions[3].text == "A red dog"


def image(number, **values):
    return lambda content: content["images"][number].update(values)


def caption(**values):
    return lambda content: content["annotations"][1].update(values)


@pytest.mark.parametrize(
    ("reader", "change", "message"),
    [
        (coco, caption(id=1010), "1 caption ids are there twice: 1010"),
        (coco, image(1, id=101), "1 image ids are there twice: 101"),
        (coco, caption(image_id=7), "1 captions are of no listed image: 1011"),
        (coco, caption(caption="  \n "), "1 captions are empty: 1011"),
        (coco, caption(caption=None), "annotations.1.caption: Input should be"),
        (coco, caption(id=2**63), "annotations.1.id: Input should be less than"),
        (coco, image(1, file_name="no.jpg"), "1 of 12 images of the val2014 split"),
        (coco, lambda c: c["images"].append({"id": 5, "file_name": "x"}), "no caption: 5"),
        (coco, lambda c: c.update(images=[], annotations=[]), "has no images"),
        (karpathy, image(0, split="dev"), "images.0.split: Input should be 'train'"),
        (karpathy, image(35, cocoid=1), "1 image ids are there twice: 1"),  # in two splits
        (karpathy, image(35, filepath="x" * 300), "1 of 3 images of the test split"),
        (karpathy, image(35, sentences=[{}]), "images.35.sentences.0.sentid: Field"),
        (coco, None, "no such file; COCO's images"),
        (karpathy, None, "no such file; Karpathy's dataset_"),
    ],
)
def test_a_wrong_file_is_refused(coco_root, edited, reader, change, message):
    path = coco_root / (VAL if reader is coco else DATASET)
    edited(path, change) if change else path.unlink()
    with pytest.raises(InputError, match=rf"{path}|(val2014|test) split") as error:
        reader(coco_root)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("split", ["train2014", "all"])
def test_what_is_trained_on_or_unknown_is_not_scored(coco_root, split):
    for reader in (coco, karpathy):
        with pytest.raises(InputError, match=r"task\.split="):
            reader(coco_root, split)


def test_images_are_not_needed_where_captions_are_scored(coco_root):
    shutil.rmtree(coco_root / "val2014")
    assert len(karpathy(coco_root, images=False).photos) == 3


def test_a_split_file_of_another_data_set(coco_root, tmp_path):
    """captions_test.json is scored, captions_train.json beside it trained on, images in images/."""
    lists = tmp_path / "lists"
    lists.mkdir()
    for old, new in (("train2014", "train"), ("val2014", "test")):
        shutil.move(coco_root / f"annotations/captions_{old}.json", lists / f"captions_{new}.json")
        shutil.copytree(coco_root / old, coco_root / "images", dirs_exist_ok=True)
        shutil.rmtree(coco_root / old)
    listed = lists / "captions_test.json"
    assert len(coco(coco_root, None, listed).photos) == 12
    assert coco(coco_root, None, listed, train=True).name == "train"
    for split, file in (("val", listed), (None, coco_root / DATASET)):
        with pytest.raises(InputError, match=r"layout coco scores captions_<split>\.json"):
            coco(coco_root, split, file)


def test_flickr_folders_have_no_filepath(coco_root, edited):
    def change(content):
        for row in content["images"]:
            del row["filepath"], row["cocoid"]

    edited(coco_root / DATASET, change)
    with pytest.raises(InputError, match="3 of 3 images of the test split are missing"):
        karpathy(coco_root)
    for name in ("train2014", "val2014"):
        shutil.copytree(coco_root / name, coco_root / "Flicker8k_Dataset", dirs_exist_ok=True)
    scored = karpathy(coco_root)
    assert [photo.id for photo in scored.photos] == [33, 34, 35]


def test_pictures_are_cropped_then_reduced(tmp_path):
    """Crop first, then Lanczos: the sides beyond the square leave no trace."""

    def prepared(image, size, preparation):
        Image.fromarray(image).save(tmp_path / "a.png")
        return Pictures([Photo(1, tmp_path / "a.png", (), 1)], size, preparation)[0]

    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, :10] = wide[:, 30:] = 255
    assert prepared(wide, 10, CROPPED).max() == 0
    assert prepared(wide, 10, SQUASHED).max() > 200
    square = np.random.RandomState(0).randint(0, 256, (30, 30, 3), np.uint8)
    expected = Image.fromarray(square).resize((16, 16), Image.Resampling.LANCZOS)
    assert (prepared(square, 16, CROPPED) == np.array(expected)).all()
    assert (prepared(square, 30, CROPPED) == square).all()
    (tmp_path / "b.png").write_bytes(b"no picture")
    pictures = Pictures(
        [Photo(1, tmp_path / name, (), 1) for name in ("a.png", "b.png")], 9, CROPPED
    )
    assert pictures[0].shape == (9, 9, 3)
    with pytest.raises(InputError, match=r"b\.png"):
        pictures[1]


def test_real_files(bench_data):
    root = bench_data / "roots/coco"
    parts = {split: karpathy(root, split, None).photos for split in ("val", "test")}
    assert {split: len(photos) for split, photos in parts.items()} == {"val": 18, "test": 17}
    assert len(karpathy(root, train=True).photos) == 60 + 78
    official = coco(root)
    assert len(official.photos) == 113
    assert official.cleaned + coco(root, train=True).cleaned == 1
    by_id = {photo.id: photo for photo in official.photos}
    for photo in parts["test"]:
        assert photo.captions == by_id[photo.id].captions


def test_real_flickr8k(bench_data):
    root = bench_data / "captions/flickr8k128"
    listed = root / "dataset_flickr8k128.json"
    test = karpathy(root, None, listed)
    trained = karpathy(root, None, listed, train=True)
    assert (len(test.photos), len(trained.photos)) == (100, 1200)
    same = coco(root, None, root / "captions_test.json")
    assert same.photos == test.photos
    assert len(coco(root, None, root / "captions_test.json", train=True).photos) == 1200
