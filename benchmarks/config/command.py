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
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmarks.config import overrides, registry
from benchmarks.config.help import experiments, help_text
from benchmarks.config.schema import UNREAD, Config, TaskConfig, check, reads
from crossflow.errors import InputError, right_names

MISTAKE, FAILURE, INTERRUPTED = 2, 1, 130


class JobError(Exception):
    """A job that a cluster launcher ran elsewhere did not end with 0."""


def run(job: Callable[[Config], int], arguments: list[str] | None = None, *, command: str) -> int:
    """Runs `job` once per configuration that `arguments` (default: sys.argv) ask for.

    job: takes a checked configuration, returns 0, or raises InputError for a user's mistake.
    command: the command's name, for help and messages. Returns the exit status.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if "-h" in arguments or "--help" in arguments:
        print(help_text(command, sys.modules[job.__module__].__doc__ or ""))
        return 0
    home: Path | None = None
    try:
        prepared = overrides.prepare(arguments)
        stamp = _stamp()
        home = overrides.work_folder(arguments) / "hydra" / stamp
        folder = f"${{work}}/hydra/{stamp}"  # where hydra keeps what it composed
        prepared += [f"hydra.run.dir='{folder}'", f"hydra.sweep.dir='{folder}'"]
        prepared += ["hydra.sweep.subdir=${hydra.job.num}"]
        _register(overrides.last(arguments, "task_file"))
        statuses = _launch(job, prepared, command)
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


def _launch(job: Callable[[Config], int], prepared: list[str], command: str) -> list[int]:
    """Lets hydra run the jobs; returns their statuses."""
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

    sys.argv = ["benchmarks", *prepared]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, do not print
    try:
        application()
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(_explained(error)) from error
    except JobError:
        statuses.append(FAILURE)
    except OSError as error:  # jobs catch their own: this is hydra making its folders
        raise InputError(
            f"cannot write {error.filename}: {error.strerror}; choose another folder with work=DIR"
        ) from error
    finally:
        sys.argv = typed
    return statuses


def _run_job(job: Callable[[Config], int], node: DictConfig, command: str) -> int:
    """One job and its status; nothing escapes but an interrupt."""
    work = Path("runs")
    try:
        refuse_unread(command, HydraConfig.get().overrides.task)
        config = OmegaConf.to_object(node)
        assert isinstance(config, Config)
        work = Path(config.work)
        check(config)
        registry.check_names(config)
        check_options(config)
        for field in ("out", "work"):
            require_writable(field, Path(getattr(config, field)))
        return job(config)
    except (InputError, OmegaConfBaseException) as error:
        complain(command, error)
        return MISTAKE
    except Exception as error:
        log = work / "failures" / f"{_stamp()}-{os.getpid()}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc(), encoding="utf-8")
        complain(command, f"{type(error).__name__}: {error} (traceback: {log})")
        return FAILURE


def refuse_unread(command: str, typed: Iterable[str]) -> None:
    """InputError for the first override of a field that `command` would ignore."""
    given = [override.lstrip("+").partition("=")[::2] for override in typed]
    exports = command == "prepare" and any(field == "export" for field, _ in given)
    use = "prepare export=DIR" if exports else command
    for field, value in given:
        cleared = field.startswith("budget.") and value == "null"  # by `overrides`, not typed
        # One set of places serves all commands of a script.
        if not reads(use, field) and field != "out" and not cleared:
            others = [f"benchmarks.{other}" for other in UNREAD if reads(other, field)]
            raise InputError(
                f"{field}: `{use}` does not use it; leave it out, it is for {' and '.join(others)}"
            )


def check_options(config: Config) -> None:
    """InputError for a wrong option of an arm."""
    for arm in config.arm:
        if options := registry.arm_options(config, arm):
            from crossflow.arm import resolve_options

            resolve_options(registry.method_of(config, arm), options, arm)


def require_writable(field: str, folder: Path) -> None:
    """InputError unless files can be made in `folder`, which need not exist yet."""
    nearest = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
    )
    try:
        with tempfile.TemporaryDirectory(dir=nearest):
            return
    except OSError as error:
        raise InputError(
            f"{field}={folder}: cannot write there ({nearest}: {error.strerror})"
        ) from error


def _register(task_file: str | None) -> None:
    """The schema and one option per task, the user's own included, where hydra looks for them."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    defaults = {name: registry.task_defaults(entry) for name, entry in registry.tasks().items()}
    if task_file is not None:
        name = Path(task_file).stem
        if name in defaults:
            raise InputError(f"task_file={task_file}: {name} is a shipped task; rename it")
        own = registry.load_file("task_file", task_file)
        defaults[name] = getattr(own, "DEFAULTS", {})
    for name, values in defaults.items():
        store.store(group="task", name=name, node=TaskConfig(name=name, **values))


def _explained(error: Exception) -> str:
    """Hydra's message as one line that says what to do."""
    group, _, name = (getattr(error, "missing_cfg_file", None) or "").partition("/")
    known: dict[str, Iterable[str]] = {"task": registry.tasks(), "experiment": experiments()}
    if group in known:
        return f"unknown {group} {name!r}. {right_names(name, known[group])}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Ambiguous value for argument"):
        argument = lines[0].split("'")[1]
        return f"{argument}: several arms of one comparison are a+b; a sweep over values needs -m"
    if error.__cause__ is not None:
        lines += [line.strip() for line in str(error.__cause__).splitlines()[:1]]
    return "; ".join(lines)


def _stamp() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d-%H%M%S-%f}"


def _forget(home: Path) -> None:
    """Removes hydra's folder of a command that never began, and what was made only to hold it."""
    shutil.rmtree(home, ignore_errors=True)
    for empty in (home.parent, home.parent.parent):
        with suppress(OSError):  # it holds something, or another process removed it
            empty.rmdir()
