"""What every command does around its work: read the fields, run the jobs, end with a status.

`@hydra.main` composes the configuration, expands sweeps and launches the jobs, so that `-m`,
presets with a sweep inside and cluster launchers all work as hydra's users expect. Around it stands
what hydra lacks: one line for a user's mistake, and a status. 0: all done. 2: a mistake found
before the first step. 1: a failure later. 130: interrupted. A sweep runs every job and returns the
worst of their statuses.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmarks.config import registry
from benchmarks.config.help import experiments, help_text
from benchmarks.config.overrides import prepare, work_folder
from benchmarks.config.schema import Config, TaskConfig, check
from crossflow.errors import InputError

MISTAKE, FAILURE, INTERRUPTED = 2, 1, 130

# Fields and sections that a command would ignore. Typed, they are refused: their user would believe
# that they had worked. A preset's own are let be: it is written for `run`.
UNUSED = {
    "prepare": ("methods", "method_file", "track", "tracker", "check", "predictions", "name"),
    "evaluate": (
        *("methods", "method_file", "model", "budget", "training", "sampling"),
        *("task.train_root", "task.train_limit", "task.validation_limit"),
        *("seed", "track", "tracker"),
        *("check", "export"),
    ),
    "prepare export=DIR": (
        *("model", "budget", "training", "sampling", "seed"),
        *("task.train_root", "task.train_limit", "task.validation_limit"),
    ),
}


class JobError(Exception):
    """A job that a cluster launcher ran elsewhere did not end with 0."""


def run(job: Callable[[Config], int], arguments: list[str] | None = None, *, command: str) -> int:
    """Runs `job` once per configuration that `arguments` (default: sys.argv) ask for.

    job: takes a checked configuration, returns 0, or raises InputError for a user's mistake.
    command: the command's name, for help and messages. Returns the exit status.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if "-h" in arguments or "--help" in arguments:
        print(help_text(command))
        return 0
    home: Path | None = None
    try:
        overrides = prepare(arguments)
        home = work_folder(arguments) / "hydra" / f"{datetime.now(UTC):%Y-%m-%d-%H%M%S-%f}"
        statuses = _launch(job, [*overrides, *_hydra_folders(home.name)], command)
    except InputError as error:
        complain(command, error)
        statuses = [MISTAKE]
    except KeyboardInterrupt:
        complain(command, "interrupted; the same command continues")
        return INTERRUPTED
    if home is not None and statuses and min(statuses) == MISTAKE:
        _forget(home)
    return max(statuses, default=0)


def complain(command: str, problem: object) -> None:
    """One line on stderr, whatever line breaks the message has."""
    print(f"{command}: error: {' '.join(str(problem).split())}", file=sys.stderr)


def _hydra_folders(stamp: str) -> list[str]:
    """Where hydra keeps what it composed: one folder a command, under `work`."""
    folder = f"${{work}}/hydra/{stamp}"
    return [
        f"hydra.run.dir='{folder}'",
        f"hydra.sweep.dir='{folder}'",
        "hydra.sweep.subdir=${hydra.job.num}",
    ]


def _launch(job: Callable[[Config], int], overrides: list[str], command: str) -> list[int]:
    """Lets hydra run the jobs; returns their statuses."""
    _register()
    statuses: list[int] = []
    parent, typed = os.getpid(), sys.argv

    @hydra.main(version_base="1.3", config_path="pkg://benchmarks.config", config_name="config")
    def application(node: DictConfig) -> None:
        settings = HydraConfig.get()
        if settings.mode == RunMode.MULTIRUN:
            chosen = " ".join(word for word in settings.overrides.task if word[-5:] != "=null")
            print(f"{command}: job {settings.job.num}: {chosen}", file=sys.stderr)
        sys.argv = typed  # what the user typed is what a record should tell
        status = _run_job(job, node, command)
        statuses.append(status)
        if status and os.getpid() != parent:  # a cluster job: our list lives in another process
            raise JobError(f"ended with status {status}")

    try:
        with _as_process(["benchmarks", *overrides]):
            application()
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(_explained(error)) from error
    except JobError:
        statuses.append(FAILURE)
    except OSError as error:  # jobs catch their own: this is hydra making its folders
        raise InputError(
            f"cannot write {error.filename}: {error.strerror}; choose another folder with work=DIR"
        ) from error
    return statuses


def _run_job(job: Callable[[Config], int], node: DictConfig, command: str) -> int:
    """One job and its status; nothing escapes but an interrupt."""
    work = Path("runs")
    try:
        refuse_unused(command, HydraConfig.get().overrides.task)
        config = OmegaConf.to_object(node)
        assert isinstance(config, Config)
        work = Path(config.work)
        check(config)
        config.methods = registry.check_methods(config.methods, config.method_file)
        for field in ("out", "work"):
            require_writable(field, Path(getattr(config, field)))
        return job(config)
    except (InputError, OmegaConfBaseException) as error:
        complain(command, error)
        return MISTAKE
    except Exception as error:
        log = _write_traceback(work)
        complain(command, f"{type(error).__name__}: {error} (traceback: {log})")
        return FAILURE


def refuse_unused(command: str, overrides: Iterable[str]) -> None:
    """InputError for the first override of a field that `command` would ignore."""
    overrides = list(overrides)
    if command == "prepare" and any(one.lstrip("+").startswith("export=") for one in overrides):
        refuse_unused("prepare export=DIR", overrides)
    for override in overrides:
        field, _, value = override.lstrip("+").partition("=")
        cleared = field.startswith("budget.") and value == "null"  # made here, not typed
        for unused in UNUSED.get(command, ()):
            if (field == unused or field.startswith(f"{unused}.")) and not cleared:
                raise InputError(f"{field}: `{command}` does not use it; leave it out")


def require_writable(field: str, folder: Path) -> None:
    """InputError unless files can be made in `folder`, which need not exist yet."""
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    try:
        with tempfile.TemporaryDirectory(dir=nearest):
            return
    except OSError as error:
        raise InputError(
            f"{field}={folder}: cannot write there ({nearest}: {error.strerror})"
        ) from error


def _register() -> None:
    """The schema and one option per task file, where hydra looks for them."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for name, entry in registry.tasks().items():
        defaults = registry.task_defaults(entry)
        store.store(group="task", name=name, node=TaskConfig(name=name, **defaults))


@contextmanager
def _as_process(arguments: list[str]) -> Iterator[None]:
    """hydra.main reads sys.argv, and prints instead of raising unless told otherwise."""
    saved, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = arguments
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = saved
        if full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full


def _explained(error: Exception) -> str:
    """Hydra's message as one line that says what to do."""
    missing = getattr(error, "missing_cfg_file", None) or ""
    group, _, name = missing.partition("/")
    if group == "task":
        try:
            registry.pick("task", name, registry.tasks())
        except InputError as better:
            return str(better)
    if group == "experiment":
        return f"unknown experiment {name!r}. There are: {', '.join(experiments())}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if error.__cause__ is not None:
        lines += [line.strip() for line in str(error.__cause__).splitlines()[:1]]
    text = "; ".join(lines)
    if lines and lines[0].startswith("Ambiguous value for argument"):
        argument = lines[0].split("'")[1]
        return f"{argument}: several arms of one comparison are a+b; a sweep over values needs -m"
    return text


def _write_traceback(work: Path) -> Path:
    """The traceback of the exception being handled, in a file of its own under `work`."""
    folder = work / "failures"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{datetime.now(UTC):%Y-%m-%d-%H%M%S-%f}-{os.getpid()}.log"
    log.write_text(traceback.format_exc(), encoding="utf-8")
    return log


def _forget(home: Path) -> None:
    """Removes hydra's folder of a command that never began, and what was made only to hold it."""
    shutil.rmtree(home, ignore_errors=True)
    for empty in (home.parent, home.parent.parent):
        with suppress(OSError):  # it holds something, or another process removed it
            empty.rmdir()
