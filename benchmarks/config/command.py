"""What every command does around its work: read the fields, run the jobs, end with a status.

`@hydra.main` composes the configuration, expands sweeps and launches the jobs, so that `-m`,
presets with a sweep inside and cluster launchers all work as hydra's users expect. Around it stands
what hydra lacks: one line for a user's mistake, and a status; of a sweep, which runs every job, the
worst one.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmarks.config import overrides, registry, schema
from benchmarks.config.output import say
from benchmarks.config.schema import Config
from crossflow.errors import InputError, right_names

# A mistake is found before the first step, a failure happens later.
MISTAKE, FAILURE, INTERRUPTED = 2, 1, 130


def run(job: Callable[[Config], int], arguments: list[str] | None = None, *, command: str) -> int:
    """Runs `job` once per configuration that `arguments` (default: sys.argv) ask for.

    job: takes a checked configuration, returns 0, or raises InputError for a user's mistake.
    command: its name, for help and messages. Returns the exit status.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(arguments):
        say([help_text(command, sys.modules[job.__module__].__doc__ or "")])
        return 0
    folder = Path("hydra", f"{datetime.now(UTC):%Y-%m-%d-%H%M%S-%f}")  # what hydra composed
    given: dict[str, str] = {}
    try:
        prepared, given = overrides.prepare(arguments, command)
        _register(given.get("task_file"))
        statuses = _launch(job, [*prepared, f"hydra.run.dir='${{work}}/{folder}'"], command)
    except InputError as error:
        complain(command, error)
        statuses = [MISTAKE]
    except KeyboardInterrupt:
        complain(command, "interrupted; the same command continues")
        return INTERRUPTED
    if set(statuses) == {MISTAKE}:  # no job began: nothing is left behind
        work = Path(given.get("work", Config.work))
        shutil.rmtree(work / folder, ignore_errors=True)
        for parent in (work / "hydra", work):
            with suppress(OSError):  # it holds something, or another process removed it
                parent.rmdir()
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
            raise RuntimeError(f"a job elsewhere ended with status {status}")

    sys.argv = ["benchmarks", *prepared]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, do not print
    try:
        application()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise InputError(_explained(error)) from error
    except RuntimeError as error:
        complain(command, error)
        statuses.append(FAILURE)
    except OSError as error:  # jobs catch their own: this is hydra making its folders
        raise InputError(f"work: cannot write {error.filename} ({error.strerror})") from error
    finally:
        sys.argv = typed
    return statuses


def _run_job(job: Callable[[Config], int], node: DictConfig, command: str) -> int:
    """One job and its status; nothing escapes but an interrupt."""
    try:
        config = cast(Config, OmegaConf.to_object(node))
        schema.check(config)
        if schema.reads(command, "methods"):
            registry.check_arms(config)
            _check_options(config)
        for field in ("out", "work"):
            _require_writable(field, Path(getattr(config, field)).absolute())
        return job(config)
    except (InputError, OmegaConfBaseException) as error:
        complain(command, error)
        return MISTAKE
    except Exception as error:
        log = Path(HydraConfig.get().runtime.output_dir, "failure.log")
        log.write_text(traceback.format_exc(), encoding="utf-8")
        complain(command, f"{type(error).__name__}: {error} (traceback: {log})")
        return FAILURE


def _check_options(config: Config) -> None:
    from crossflow.arm import resolve_options

    for arm in config.arm:
        module, options = registry.method_of(config, arm), registry.arm_options(config, arm)
        resolve_options(module, options, arm)


def _require_writable(field: str, folder: Path) -> None:
    """InputError unless files can be made in `folder`, which need not exist yet."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        raise InputError(f"{field}={folder}: cannot write there ({error.strerror})") from error


def _register(task_file: str | None) -> None:
    """The schema and one option per task, the user's own included, where hydra looks for them."""
    defaults = {name: registry.task_defaults(path) for name, path in registry.tasks().items()}
    if task_file is not None:
        own = registry.load_file("task_file", task_file)
        defaults[Path(task_file).stem] = getattr(own, "DEFAULTS", {})
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for name, values in defaults.items():
        store.store(group="task", name=name, node=schema.TaskConfig(name=name, **values))


def _explained(error: Exception) -> str:
    """Hydra's message as one line that says what to do."""
    group, _, name = (getattr(error, "missing_cfg_file", None) or "").partition("/")
    if group in ("task", "experiment"):
        known = registry.tasks() if group == "task" else registry.experiments()
        return f"unknown {group} {name!r}. {right_names(name, known)}"
    message = f"{error}\n{error.__cause__ or ''}".strip()
    if message.startswith("Ambiguous value for argument"):
        argument = message.split("'")[1]
        return f"{argument}: several arms of one comparison are a+b; a sweep over values needs -m"
    return re.sub(r"\s*\n\s*", "; ", message)


def help_text(command: str, document: str) -> str:
    """Usage, `document`, the fields that the command reads, what there is, exit statuses."""
    rows = []
    for name, section, item in schema.leaves():
        if schema.reads(command, name):
            path = Path(inspect.getfile(section))
            _, text = registry.described(path, section.__name__)[item.name]
            allowed = ", ".join(schema.CHOICES.get(name, ())) or schema.RULES.get(name, ("",))[0]
            default = json.dumps(getattr(section(), item.name)).strip('"')
            head = "arm.NAME.OPTION=VALUE" if name == "arm" else f"{name}={default}"
            rows.append(_row(f"  {head}", f"{text} ({allowed})" if allowed else text, 34))
    return f"""python -m benchmarks.{command} [FIELD=VALUE ...] [+experiment=PRESET] [-m]

{document.strip()}

Fields and their defaults (null: none, or the task's own):
{chr(10).join(rows)}

A budget has one limit, flops={schema.DEFAULT_FLOPS:g} by default; one typed replaces a preset's.

{_row("Tasks:", ", ".join(registry.tasks()), 13)}
{_row("Methods:", ", ".join(registry.methods()), 13)}
{_row("Experiments:", ", ".join(registry.experiments()), 13)}

-m, --multirun runs every combination of comma-separated values; --cfg job shows the
configuration and stops; --config-dir DIR adds a folder of presets of your own.
Exit status: 0 done, 1 a failure during the work, 2 a mistake found before it."""


def _row(head: str, text: str, indent: int) -> str:
    """A name and its text in two columns of a page of 100."""
    return textwrap.fill(
        text, 100, initial_indent=f"{head} ".ljust(indent), subsequent_indent=" " * indent
    )
