"""Whatever a path holds, OmegaConf reads it back as it was typed."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from benchmarks.config.overrides import prepare, split, work_folder
from crossflow.errors import InputError

PARSER = OverridesParser.create()
# No leading "~", which is the home folder, and no text that means None.
PATHS = st.text(
    st.one_of(
        st.sampled_from("\\${}[](),='\" ~:*?#ü"),
        st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")),
    ),
    min_size=1,
).filter(lambda text: not text.startswith("~") and text != "null")


@given(PATHS)
def test_any_path_comes_through(path):
    (written,) = prepare([f"task.root={path}"])
    override = PARSER.parse_override(written)
    assert not override.is_sweep_override()
    # A sweep writes each value out again for its jobs: a second round must change nothing.
    again = PARSER.parse_override(f"task.root={override.get_value_element_as_str()}")
    for parsed in (override, again):
        assert OmegaConf.create({"root": parsed.value()}).root == path


def test_a_limit_clears_the_others():
    prepared = prepare(["budget.samples=5", "seed=1"])
    cleared = {f"budget.{name}=null" for name in ("device_seconds", "flops", "steps")}
    assert set(prepared) == {"budget.samples=5", "seed=1"} | cleared
    assert prepare(["seed=1"]) == ["seed=1"]


def test_the_same_limit_twice_is_one_limit():
    assert prepare(["budget.steps=5", "budget.steps=6"])[:2] == ["budget.steps=5", "budget.steps=6"]


def test_a_cleared_limit_is_none():
    assert "budget.flops=null" in prepare(["budget.flops=null", "budget.steps=6"])


def test_flags_pass_with_their_values():
    assert prepare(["--cfg", "job", "-m"]) == ["--cfg", "job", "-m"]
    assert prepare(["--config-dir=/x=y"]) == ["--config-dir=/x=y"]


@pytest.mark.parametrize("argument", ["=3", "", "seed", "a b", "--", "-mm"])
def test_no_field(argument):
    with pytest.raises(InputError):
        prepare([argument])


def test_a_plus_before_a_known_field_is_forgiven():
    assert split("+seed=3") == ("", "seed", "3")
    assert split("++seed=3") == ("++", "seed", "3")


def test_work_folder():
    assert str(work_folder(["work=a", "seed=1", "+work=b=c"])) == "b=c"
    assert str(work_folder([])) == "runs"
