"""Columns of a paper: chosen by the names of metrics, marked by what is read."""

import pytest

from benchmarks.report.columns import decimals, heading, paper_columns, places


@pytest.mark.parametrize(
    ("numbers", "better", "expected"),
    [
        ([3.0, 1.0, 2.0], "lower", [3, 1, 2]),
        ([3.0, 1.0, 2.0], "higher", [1, 3, 2]),
        ([1.0, 1.0, 2.0], "lower", [1, 1, 3]),
        ([1.0, 2.0, 2.0], "lower", [1, 2, 2]),
        ([None, 2.0, 1.0], "lower", [None, 2, 1]),
        ([-1.0, 0.0], "lower", [1, 2]),
        ([2.0, None], "lower", [None, None]),
        ([2.0, 2.0], "lower", [None, None]),
        ([], "lower", []),
    ],
)
def test_places(numbers, better, expected):
    assert places(numbers, better) == expected


CAPTION = ["bleu1", "bleu4", "cider", "meteor", "rouge_l", "spice"]


@pytest.mark.parametrize(
    ("primary", "names", "expected"),
    [
        (
            "fid@30000",
            ["clip_vitb32_openai_cos", "clip_vitb32_openai_cos_clipped", "fid@30000", "is@30000"],
            ["fid@30000", "is@30000", "clip_vitb32_openai_cos"],
        ),
        ("cider", CAPTION, ["cider", "bleu4", "meteor", "rouge_l", "spice"]),
        ("scene_f1", ["scene_f1", "cider"], ["scene_f1", "cider"]),
        ("absrel", ["absrel", "absrel_median", "delta1", "delta2"], ["absrel", "delta1"]),
        ("psnr_y", ["psnr_rgb", "psnr_y", "ssim_rgb", "ssim_y"], ["psnr_y", "ssim_y"]),
        (
            "kid_tabletop@256",
            ["fid_tabletop@256", "kid_tabletop@256", "psnr_rgb", "psnr_y", "ssim_rgb"],
            ["kid_tabletop@256", "fid_tabletop@256", "psnr_rgb", "ssim_rgb"],
        ),
        ("geneval_overall", ["geneval_overall", "geneval_a"], ["geneval_overall", "geneval_a"]),
        ("somebodys_own", ["other", "somebodys_own"], ["somebodys_own"]),
        ("absent", ["other"], []),
    ],
)
def test_paper_columns(primary, names, expected):
    assert paper_columns(names, primary) == expected


@pytest.mark.parametrize(
    ("name", "above", "below", "digits"),
    [
        ("fid@30000", "FID", "@30000", 2),
        ("kid_tabletop@256", "KID", "tabletop@256", 4),
        ("clip_vitb32_openai_cos", "CLIP", "vitb32_openai_cos", 3),
        ("scene_f1", "Scene F1", "", 3),
        ("absrel_object", "AbsRel", "object", 3),
        ("delta1", "δ1", "", 3),
        ("issue", "issue", "", 3),
    ],
)
def test_headings_lose_no_part_of_a_name(name, above, below, digits):
    assert heading(name) == (above, below)
    assert decimals(name) == digits
