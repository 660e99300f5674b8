"""Whatever a path holds, OmegaConf reads it back as it was typed; flags may stand anywhere."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from benchmarks.config.command import prepare
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
    (written,), _ = prepare([f"task.root={path}"])
    override = PARSER.parse_override(written)
    assert not override.is_sweep_override()
    # A sweep writes each value out again for its jobs: a second round must change nothing.
    again = PARSER.parse_override(f"task.root={override.get_value_element_as_str()}")
    for parsed in (override, again):
        assert OmegaConf.create({"root": parsed.value()}).root == path


@pytest.mark.parametrize(
    ("typed", "prepared"),
    [
        ("seed=0,1 -m", "-m seed=0,1"),
        ("--cfg job seed=3 -m", "--cfg job -m seed=3"),
        ("+experiment=x --config-dir=/x=y", "--config-dir=/x=y +experiment=x"),
        ("experiment=x +seed=3 ++model=S", "+experiment=x seed=3 model=S"),
        ("seed=1 budget.flops=null", "seed=1 budget.flops=null"),
    ],
)
def test_what_hydra_reads(typed, prepared):
    assert prepare(typed.split())[0] == prepared.split()


def test_what_was_given():
    _, values = prepare(["work=~/a", "seed=1", "+work=~/b=c", "name=null"])
    assert values == {"work": str(Path.home() / "b=c"), "seed": "1"}


@pytest.mark.parametrize(
    "argument",
    "=3|seed|a b|--|-mm|-m=3|~seed|task.name=x|arm=1|arm.x=1|arm.2x.lr=1|arm.x..lr=1".split("|"),
)
def test_no_field(argument):
    with pytest.raises(InputError, match=r"write (FIELD|arm\.NAME)|unknown field"):
        prepare([argument])
