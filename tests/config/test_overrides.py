"""Whatever a path holds, OmegaConf reads it back as it was typed; flags may stand anywhere."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from benchmarks.config import overrides
from crossflow.errors import InputError

PARSER = OverridesParser.create()


def prepare(arguments):
    return overrides.prepare(arguments)[0]


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
    prepared = prepare(["budget.samples=5", "seed=1", "budget.flops=null"])
    cleared = [f"budget.{name}=null" for name in ("device_seconds", "flops", "steps")]
    assert prepared == ["budget.samples=5", "seed=1", "budget.flops=null", *cleared]
    assert prepare(["seed=1", "budget.flops=null"]) == ["seed=1", "budget.flops=null"]


def test_flags_go_first_with_their_values():
    assert prepare(["seed=0,1", "-m"]) == ["-m", "seed=0,1"]
    assert prepare(["--cfg", "job", "seed=3", "-m"]) == ["--cfg", "job", "-m", "seed=3"]
    assert prepare(["+experiment=x", "--config-dir=/x=y"]) == ["--config-dir=/x=y", "+experiment=x"]


@pytest.mark.parametrize("argument", ["=3", "", "seed", "a b", "--", "-mm", "-m=3", "task.name=x"])
def test_no_field(argument):
    with pytest.raises(InputError):
        prepare([argument])


def test_what_was_given():
    typed = ["work=~/a", "seed=1", "+work=~/b=c", "name=null", "+seed=3"]
    prepared, given = overrides.prepare(typed)
    assert given == {"work": str(Path.home() / "b=c"), "seed": "3"}
    assert prepared[3:] == ["name=null", "seed=3"], "a plus before a known field is forgiven"


@pytest.mark.parametrize("arm", ["sin", "cf-sin", "v1.2", "Model_T.x"])
def test_an_option_of_an_arm_is_appended(arm):
    (written,) = prepare([f"arm.{arm}.kl_weight=1e-3"])
    override = PARSER.parse_override(written)
    assert override.is_force_add()
    config = OmegaConf.create({"arm": {}})
    OmegaConf.update(config, override.key_or_group, override.value(), force_add=True)
    assert OmegaConf.select(config, f"arm.{arm}.kl_weight") == 1e-3


@pytest.mark.parametrize("key", ["arm", "arm.x", "arm.2x.lr", "arm.x..lr"])
def test_no_option_of_an_arm(key):
    with pytest.raises(InputError, match=rf"{key}: write arm\.NAME\.OPTION=VALUE"):
        prepare([f"{key}=1"])
