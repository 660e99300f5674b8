"""The command line: what a user types wrong is one line and status 2, and leaves nothing behind."""

import os
import subprocess
import sys
from operator import attrgetter
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from benchmarks.config import registry
from benchmarks.config.command import PATHS, prepare
from benchmarks.config.schema import DEFAULT_FLOPS
from crossflow.errors import InputError

MANY = "a b=c,d[e]{f}ü ~$(g)'\"\\"
OWN_METHOD = 'NAME = "own"\ndef applies(problem): ...\ndef method(problem, size): ...\n'
WEIRD = MANY + "${h}"


def test_the_default_job(call):
    (config,) = call().configs
    assert (config.task.name, config.budget.kind) == ("depth_tabletop", "flops")
    assert config.task.size == 32, "the task file's own default"
    assert config.methods == ["regression", "flow_matching", "crossflow"]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("task=nyu", "unknown task 'nyu'. Did you mean depth_nyu?"),
        ("task=depth_nu", "unknown task 'depth_nu'. Did you mean depth_nyu? There are: caption"),
        ("-m task=depth_nyu,nothing", "unknown task 'nothing'"),
        ("training.bath=3", "unknown field 'training.bath'. Did you mean training.batch? --help"),
        ("batch=3", "Did you mean training.batch or sampling.batch?"),
        ("method=crossflow", "Did you mean methods or method_file?"),
        ("--fast", "'--fast': write FIELD=VALUE; --help lists fields and flags"),
        ("--cfg job -m", "Only one of"),
        ("seed=[1", "seed=[1: cannot be read: values with special characters are quoted, 'seed="),
        ("task.size=<b>", "task.size=<b>: cannot be read: values with special characters are"),
        ("-m seed=0,one", "seed=one; Value 'one' of type 'str' could not be converted to Integer"),
        ("seed=-1", "seed=-1: must be from 0 to 2147483647"),
        ("task.limit=0", "task.limit=0: must be at least 1"),
        ("model=XXL", "model=XXL: must be one of T, S, B, L, XL, H"),
        ("sampling.guidance=nan", "sampling.guidance=nan: must be a finite number"),
        ("sampling.curve=[4,0]", "sampling.curve=[4, 0]: must be at least 1"),
        ("budget.samples=5 budget.flops=3", "exactly one limit"),
        ("budget.steps=2.5", "budget.steps=2.5: must be a whole number"),
        ("methods=crossflow,regression", "are a+b; a sweep over values needs -m"),
        ("methods=crossfow", "unknown method 'crossfow'. Did you mean crossflow?"),
        ("methods=crossflow+crossflow", "methods=crossflow+crossflow: write a+b or [a,b], each"),
        ("methods=floor arm.floor.method=crossflow", "methods=floor: a name has letters"),
        ("method_file=/no/such.py", "method_file=/no/such.py: no such Python file"),
        ("arm.crossfow.method=regression", "arm.crossfow: not in methods. Did you mean crossflow?"),
        ("arm.crossflow.method=regression", "crossflow is a method itself; rename the arm"),
        ("arm.crossflow.kl_weigth=1", "arm.crossflow.kl_weigth: unknown. Did you mean kl_weight?"),
        ("name=", "name is empty"),
        ("+experiment=tabletop_quik", "unknown experiment 'tabletop_quik'. Did you mean tabletop_"),
        ("+launcher=slurm", 'pip install "crossflow-bench[cluster]"'),
        ("out=/proc/x", "out=/proc/x: cannot write there"),
        ("out=/proc/version/x", "out=/proc/version/x: cannot write there (Not a directory)"),
        ("work=/proc/version/x", "work: cannot write /proc/version/x"),
        ("work=a${b}", "'b' not found"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(call, typed, message):
    done = call(*typed.split())
    assert message in done.error
    assert (done.status, done.configs, list(Path().iterdir())) == (2, [], [])


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        (InputError("task.root=/x: no;\nlooked"), 2, "task.root=/x: no; looked"),
        (RuntimeError("out of\nmemory"), 1, "RuntimeError: out of memory (traceback: "),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_job_ends_with_a_status_and_a_line(call, raised, status, message):
    def job(config):
        raise raised

    done = call(job=job)
    assert done.status == status
    assert done.error.startswith(message)
    if status == 1:
        assert "raise raised" in Path(done.error.partition("traceback: ")[2][:-1]).read_text()
    elif status == 2:
        assert list(Path().iterdir()) == []


def test_the_configuration_is_shown(call):
    done = call("+experiment=tabletop_quick", "task=depth_nyu", "--cfg", "job")
    assert (done.status, done.configs) == (0, [])
    assert "name: depth_nyu" in done.stdout


@pytest.mark.parametrize("given", [(), ("sampling.precision=training",)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_sampling_is_in_the_precision_of_training(call, precision, given):
    (config,) = call(f"training.precision={precision}", *given).configs
    assert config.sampling.precision == precision
    (config,) = call(f"training.precision={precision}", "sampling.precision=fp32").configs
    assert config.sampling.precision == "fp32"


def test_a_sweep_runs_every_job_and_returns_the_worst_status(call):
    def job(config):
        if config.seed == 1:
            raise RuntimeError("seed 1 fails")
        return 0

    done = call("task=depth_nyu,sr_tabletop", "seed=0,1,2", "-m", job=job)
    assert done.status == 1
    jobs = [(config.task.name, config.seed) for config in done.configs]
    assert jobs == [(task, seed) for task in ("depth_nyu", "sr_tabletop") for seed in (0, 1, 2)]
    assert "seed 1 fails" in done.stderr


@pytest.mark.parametrize("preset", ["tabletop_quick", "tabletop"])
def test_a_preset_runs_the_four_embedded_tasks(call, preset):
    done = call(f"+experiment={preset}")
    assert done.status == 0
    names = [config.task.name for config in done.configs]
    assert sorted(names) == ["caption_tabletop", "depth_tabletop", "sr_tabletop", "t2i_tabletop"]
    assert all(config.quick == (preset == "tabletop_quick") for config in done.configs)
    assert {config.sampling.precision for config in done.configs} == {"bf16"}, "as it trains"


def test_a_preset_of_ones_own_may_limit_anything(call):
    folder = Path("presets/experiment")
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# @package _global_\nbudget:\n  samples: 1000\n")
    (config,) = call("--config-dir", "presets", "+experiment=mine").configs
    assert (config.budget.kind, config.budget.limit) == ("samples", 1000)


@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_paths_hold_any_character(call, flags):
    elsewhere = {"out", "work", "method_file", "task_file", "predictions", "name", "export"}
    elsewhere |= {"checkpoint"}
    fields = sorted(set(PATHS) - elsewhere)
    (config,) = call(*(f"{field}={WEIRD}" for field in fields), *flags).configs
    assert {attrgetter(field)(config) for field in fields} == {WEIRD}
    commands = {"predictions": "evaluate", "export": "prepare", "checkpoint": "sample"}
    for field, command in commands.items():
        (config,) = call(f"{field}={WEIRD}", command=command).configs
        assert getattr(config, field) == WEIRD


def test_out_and_work_hold_any_character(call):
    (config,) = call(f"out={WEIRD}/out", f"work={MANY}/work").configs
    assert (config.out, config.work) == (f"{WEIRD}/out", f"{MANY}/work")
    assert Path(MANY, "work", "hydra").is_dir(), "hydra's own folders lie under work"
    assert [path.name for path in Path().iterdir()] == [MANY]


@pytest.mark.parametrize(
    ("typed", "field", "values"),
    [
        ("task.root=null", "task.root", [None]),
        ("methods=regression+crossflow", "methods", [["regression", "crossflow"]]),
        ("methods=[regression,crossflow]", "methods", [["regression", "crossflow"]]),
        ("+experiment=tabletop budget.samples=64 task=depth_nyu", "budget.samples", [64]),
        ("-m budget.steps=1e2,200", "budget.steps", [100, 200]),
        ("budget.flops=null", "budget.limit", [DEFAULT_FLOPS]),
        ("-m arm.regression.lr=1,2", "arm", [{"regression": {"lr": lr}} for lr in (1, 2)]),
        ("methods=v1.2 arm.v1.2.method=crossflow", "arm", [{"v1.2": {"method": "crossflow"}}]),
        ("methods=a-B.x arm.a-B.x.method=regression", "arm", [{"a-B.x": {"method": "regression"}}]),
    ],
)
def test_what_a_job_gets(call, typed, field, values):
    configs = call(*typed.split()).configs
    assert repr([attrgetter(field)(config) for config in configs]) == repr(values), "64 is no 64.0"


def test_a_method_of_ones_own_joins_the_arms(call, packages, capsys):
    """It is run once, however often it is asked."""
    own = packages / MANY / "own.py"
    own.parent.mkdir()
    own.write_text(f"\ufeffprint('run')\n{OWN_METHOD}", encoding="utf-8")
    done = call(f"method_file={own}", "methods=crossflow", "-m", "seed=0,1")
    assert [config.methods for config in done.configs] == [["crossflow", "own"]] * 2
    assert registry.method_of(done.configs[0], "own").NAME == "own"
    assert done.stdout == "run\n"
    (config,) = call(f"method_file={own}", "methods=two", "arm.two.method=own").configs
    assert config.methods == ["two"], "an arm has it already"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("crossflow.py", OWN_METHOD, "crossflow is shipped; rename it"),
        ("a b.py", OWN_METHOD, "method_file=a b: a name has letters, digits"),
        ("own.py", OWN_METHOD.replace("applies", "apply"), "no attribute 'applies'; it defines or"),
        ("own.py", f"import no_such_module\n{OWN_METHOD}", "ModuleNotFoundError: No module named"),
        ("own.py", f"{OWN_METHOD}raise SystemExit(0)\n", "own.py: SystemExit: 0;"),
    ],
)
def test_a_method_file_that_is_none(call, packages, name, text, message):
    own = packages / name
    own.write_text(text)
    assert message in call(f"method_file={own}").error


def test_a_task_of_ones_own(call, packages):
    own = packages / "mine.py"
    own.write_text("x = 1\n")
    assert "has no attribute 'TASK'; it defines or imports TASK" in call(f"task_file={own}").error
    own.write_text('DEFAULTS = {"size": 48}\nTASK = object()\n')
    (config,) = call(f"task_file={own}", "+experiment=tabletop_quick").configs
    assert (config.task.name, config.task.size) == ("mine", 48)
    assert "leave task=NAME out" in call(f"task_file={own}", "task=depth_nyu").error
    assert "depth_nyu is shipped" in call(f"task_file={own.rename('depth_nyu.py')}").error


@pytest.mark.parametrize(
    ("command", "typed", "field"),
    [
        ("run", "predictions=x", "predictions"),
        ("prepare", "training.lr=1", "training.lr"),
        ("prepare", "arm.crossflow.method=x", "arm.crossflow.method"),
        ("evaluate", "budget.steps=3", "budget.steps"),
        ("prepare export=DIR", "export=x task.train_limit=3", "task.train_limit"),
    ],
)
def test_a_field_that_would_be_ignored_is_refused(call, command, typed, field):
    done = call(*typed.split(), command=command.split()[0])
    assert done.status == 2
    assert done.error.startswith(f"{field}: `{command}` does not use it; leave it out, it is for b")
    assert call("+experiment=tabletop_quick", "out=y", command="prepare").status == 0


@pytest.mark.parametrize("command", ["run", "plan", "prepare", "evaluate"])
def test_help_lists_the_fields_that_a_command_reads(call, command):
    shown = call("seed=1", "--help", command=command)
    assert shown.status == 0
    for part in ("task.root=null ", "folder of the data", "depth_nyu", "tabletop_quick", "Exit"):
        assert part in shown.stdout
    for part in ("budget.flops=null ", "training.lr=0.001 ", "(one of euler,", "arm.NAME.OPTION="):
        assert (part in shown.stdout) == (command in ("run", "plan"))
    assert ("predictions=null" in shown.stdout) == (command == "evaluate")
    assert ("calibrate=false" in shown.stdout) == (command == "plan")
    assert ("export=null" in shown.stdout) == (command == "prepare")


def test_a_job_sees_what_the_user_typed(call, monkeypatch):
    """Records keep the command; hydra's additions are no part of it."""
    monkeypatch.setattr(sys, "argv", ["run", "seed=3"])

    def job(config):
        assert sys.argv == ["run", "seed=3"]
        return 0

    assert call("seed=3", job=job).status == 0
    assert call("seed=one").status == 2
    assert sys.argv == ["run", "seed=3"]


def test_a_users_mistake_in_a_real_process(tmp_path):
    """Through the interpreter: no traceback, no warning, nothing on stdout, no folder."""
    command = [sys.executable, "-W", "error", "-m", "benchmarks.run", "task=no"]
    paths = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=paths, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("run: error: unknown task 'no'")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


PARSER = OverridesParser.create()
# No leading "~", which is the home folder, and no text that means None.
ANY_PATH = st.text(
    st.one_of(
        st.sampled_from("\\${}[](),='\" ~:*?#ü"),
        st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")),
    ),
    min_size=1,
).filter(lambda text: not text.startswith("~") and text != "null")


@given(ANY_PATH)
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
