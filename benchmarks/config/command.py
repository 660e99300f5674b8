"""What every command does around its work: read the fields, run the jobs, end with a status.

`@hydra.main` composes the configuration, expands sweeps and launches the jobs. Around it stands
what it lacks: flags in any order, paths of any character, a budget limit that replaces a preset's,
options of arms, one line for a user's mistake with the right name, a status; of a sweep the worst.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmarks.config import registry, schema, signals
from benchmarks.config.output import lasting_stderr, say
from benchmarks.config.schema import UNREAD, Config, leaves, reads
from crossflow.errors import InputError, closest, right_names

# Read literally, whatever characters they hold.
PATHS = (
    *"task.root task.train_root task.split_file task.prompts task_file method_file".split(),
    *"predictions name out work export trials checkpoint".split(),
    *(f"weights.{item.name}" for item in fields(schema.WeightsConfig)),
)
WEIGHTS = (".pth", ".safetensors")  # so are an arm's options that end so
FLAG = re.compile(r"-m|--multirun|--resolve|--(cfg|config-dir)(=.*)?")
PRESETS = ("experiment", "launcher")  # folders of them
# Keys that hydra's grammar reads: the parts of an arm's name, then its option.
ARM_KEY = re.compile(r"arm(\.([A-Za-z_][\w-]*|0|[1-9]\d*))+\.[A-Za-z_]\w*", re.ASCII)
# A mistake is found before the first step, a failure happens later.
MISTAKE, FAILURE = 2, 1


@lasting_stderr()
def run(
    job: Callable[[Config], int],
    arguments: list[str] | None = None,
    *,
    command: str,
    end: Callable[[list[int]], None] = lambda statuses: None,
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Runs `job`, which takes a checked configuration and returns 0 or raises InputError, once per
    configuration that `arguments` (default: sys.argv) ask for, then `end` with all statuses.
    defaults: of fields, in place of the schema's. Returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(arguments):
        say([help_text(command, sys.modules[job.__module__].__doc__ or "", defaults)])
        return 0
    typed = {word.partition("=")[0] for word in arguments}
    arguments = [*(f"{k}={v}" for k, v in defaults.items() if k not in typed), *arguments]
    folder = Path("hydra", f"{datetime.now(UTC):%Y-%m-%d-%H%M%S-%f}")  # what hydra composed
    given = dict[str, str]()
    try:
        prepared, given = prepare(arguments, command)
        _register(given.get("task_file"))
        with signals.heard():
            statuses = _launch(job, [*prepared, f"hydra.run.dir='${{work}}/{folder}'"], command)
    except InputError as error:
        complain(command, error)
        statuses = [MISTAKE]
    except KeyboardInterrupt as stopped:
        return 128 + _interrupted(command, stopped)
    end(statuses)
    if set(statuses) == {MISTAKE}:  # no job began: nothing is left behind
        work = Path(given.get("work", Config.work))
        shutil.rmtree(work / folder, ignore_errors=True)
        with suppress(OSError):  # they hold something, or another process removed them
            (work / "hydra").rmdir()
            work.rmdir()
    return max(statuses, default=0)


def complain(command: str, problem: object) -> None:
    """One line on stderr, whatever line breaks the message has."""
    print(f"{command}: error: {' '.join(str(problem).split())}", file=sys.stderr)


def _launch(job: Callable[[Config], int], prepared: list[str], command: str) -> list[int]:
    """Lets hydra run the jobs; returns their statuses."""
    statuses, parent, typed = list[int](), os.getpid(), sys.argv

    @hydra.main(version_base="1.3", config_path="pkg://benchmarks.config", config_name="config")
    def application(node: DictConfig) -> None:
        settings = HydraConfig.get()
        if settings.mode == RunMode.MULTIRUN:
            words = " ".join(word for word in settings.overrides.task if word[-5:] != "=null")
            print(f"{command}: job {settings.job.num}: {words}", file=sys.stderr)
        sys.argv = typed  # what the user typed is what a record should tell
        if os.getpid() == parent:
            statuses.append(_run_job(job, node, command))
        elif status := _run_elsewhere(job, node, command):
            raise SystemExit(status)  # which Slurm shows; the launcher misses a result

    sys.argv = ["benchmarks", *prepared]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, do not print
    try:
        application()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise InputError(_explained(error)) from error
    except RuntimeError as error:  # a launcher's: a job, of which it tells all that it wrote
        complain(command, str(error).partition("\nError stream")[0])
        statuses.append(FAILURE)
    except OSError as error:  # jobs catch their own: this is hydra making its folders
        raise InputError(f"work: cannot write {error.filename} ({error.strerror})") from error
    finally:
        sys.argv = typed
    return statuses


def _run_elsewhere(job: Callable[[Config], int], node: DictConfig, command: str) -> int:
    """A cluster job and its status; several tasks of it are the processes of one training. A signal
    ends it in order; then whoever launched it hears it, who may ask for another turn."""
    submitit = sys.modules.get("submitit")
    if submitit and submitit.JobEnvironment().num_tasks > 1:
        devices = submitit.helpers.TorchDistributedEnvironment()
        devices.export(set_cuda_visible_devices=False, overwrite=True)
    try:
        with signals.heard():
            return _run_job(job, node, command)
    except KeyboardInterrupt as stopped:
        number = _interrupted(command, stopped)
        signal.raise_signal(number)
        return 128 + number


def _interrupted(command: str, stopped: KeyboardInterrupt) -> int:
    """Says so; the number of the signal."""
    number = signals.number_of(stopped)
    name = signal.Signals(number).name
    complain(command, f"interrupted by {name}; the same command continues")
    return number


def _run_job(job: Callable[[Config], int], node: DictConfig, command: str) -> int:
    """One job and its status; nothing escapes but an interrupt."""
    try:
        config = cast(Config, OmegaConf.to_object(node))
        schema.check(config)
        if reads(command, "methods"):
            from crossflow.arm import resolve_options

            registry.check_arms(config)
            for arm in config.arm:
                options = registry.arm_options(config, arm)
                resolve_options(registry.method_of(config, arm), options, arm)
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
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise SystemExit(FAILURE) from error  # the others would wait: torchrun ends them
        return FAILURE


def _require_writable(field: str, folder: Path) -> None:
    try:
        above = next(path for path in (folder, *folder.parents) if path.exists())
        tempfile.TemporaryFile(dir=above).close()
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


def prepare(arguments: list[str], command: str = "run") -> tuple[list[str], dict[str, str]]:
    """Arguments for hydra, flags first, and the value of each field that was given one. InputError
    for what is no flag and no FIELD=VALUE, and for a field that `command` would ignore."""
    flags, overrides, given, words = list[str](), list[str](), dict[str, str](), iter(arguments)
    for word in words:
        if FLAG.fullmatch(word):
            flags += [word, *islice(words, int(word in ("--cfg", "--config-dir")))]
            continue
        prefix, key, value = _split(word)
        path = key in PATHS or (key.startswith("arm.") and value.endswith(WEIGHTS))
        overrides.append(f"{prefix}{key}={_quoted(value) if path else value}")
        given |= {key: value} if value != "null" else {}
    use = "prepare export=DIR" if command == "prepare" and "export" in given else command
    # One set of places serves all of a script: `out` is let be.
    for field in (name for name in given if name != "out" and not reads(use, name)):
        others = " and ".join(f"benchmarks.{other}" for other in UNREAD if reads(other, field))
        raise InputError(f"{field}: `{use}` does not use it; leave it out, it is for {others}")
    if given.get("track") == "tuned" and "training.lr" in given:
        raise InputError("training.lr: track=tuned takes it from the trials, leave it out")
    if "launcher" in given and find_spec("submitit") is None:
        raise InputError('launcher: submitit is missing: pip install "crossflow-bench[cluster]"')
    limits = [name for name, *_ in leaves() if name.startswith("budget.")]
    if given.keys() & limits:
        overrides += [f"{limit}=null" for limit in limits if limit not in given]
    if task_file := given.get("task_file"):
        if "task" in given:
            raise InputError(f"task_file={task_file}: it is the task; leave task=NAME out")
        overrides.append(f"task={Path(task_file).stem}")
    return flags + overrides, given


def _split(argument: str) -> tuple[str, str, str]:
    """`key=value` -> (prefix that hydra wants, key, value), with a key that exists."""
    match = re.match(r"(\+\+|\+|)([^=+~-][^=+~]*)=(.*)\Z", argument, re.DOTALL)
    if match is None:
        raise InputError(f"{argument!r}: write FIELD=VALUE; --help lists fields and flags")
    prefix, key, value = match.groups()
    known = [name for name, *_ in leaves()]
    if key in PATHS:
        value = os.path.expanduser(value)  # noqa: PTH111  (Path would also drop "./" and "//")
        if not value:
            raise InputError(f"{key} is empty")
    if ARM_KEY.fullmatch(key):
        prefix = "++"
    elif key.partition(".")[0] == "arm":
        raise InputError(f"{key}: write arm.NAME.OPTION=VALUE, NAME beginning with a letter")
    elif key in (*known, *PRESETS):
        prefix = "+" if key in PRESETS else ""
    elif not key.startswith(("hydra.", "hydra/")):
        raise InputError(f"unknown field {key!r}. {closest(key, known)}--help lists all fields")
    return prefix, key, value


def _quoted(text: str) -> str:
    """As hydra reads it literally; null stays null."""
    # OmegaConf interpolates at "${"; in single quotes backslashes count only before a quote.
    escaped = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
    inside = re.sub(r"(\\*)('|\Z)", lambda match: match[1] * 2 + "\\'" * bool(match[2]), escaped)
    return text if text == "null" else f"'{inside}'"


def _explained(error: Exception) -> str:
    """What to do about an error of hydra's."""
    if isinstance(error, OverrideParseException):
        field, why = error.override.partition("=")[0], "cannot be read: values with special"
        return f"{error.override}: {why} characters are quoted, '{field}=\"VALUE\"'"
    group, _, name = (getattr(error, "missing_cfg_file", None) or "").partition("/")
    known = {"task": [*registry.tasks()]} | {kind: [*registry.presets(kind)] for kind in PRESETS}
    if group in known:
        return f"unknown {group} {name!r}. {right_names(name, known[group])}"
    message = f"{error}\n{error.__cause__ or ''}".strip()
    if message.startswith("Ambiguous value for argument"):
        argument = message.split("'")[1]
        return f"{argument}: several arms of one comparison are a+b; a sweep over values needs -m"
    # What follows are names of ours, not of what was typed.
    return re.sub(r"\s*\n\s*", "; ", message.partition("\n    full_key:")[0])


def help_text(command: str, document: str, defaults: Mapping[str, str]) -> str:
    """Usage, `document`, the fields that the command reads, what there is, exit statuses."""
    rows = []
    for name, section, item in leaves():
        if reads(command, name):
            path = Path(inspect.getfile(section))
            _, text = registry.described(path, section.__name__)[item.name]
            allowed = f" ({schema.RULES[name][0]})" if name in schema.RULES else ""
            default = defaults.get(name, json.dumps(getattr(section(), item.name)).strip('"'))
            head = "arm.NAME.OPTION=VALUE" if name == "arm" else f"{name}={default}"
            rows.append(_row(f"  {head}", text + allowed, 34))
    launchers = "slurm; +launcher=slurm -m submits jobs as an array (docs/cluster.md)"
    if not reads(command, "launcher"):
        launchers = "none here"
    return f"""python -m benchmarks.{command} [FIELD=VALUE ...] [+experiment=PRESET] [-m]

{document.strip()}

Fields and their defaults (null: none, or the task's own):
{chr(10).join(rows)}

A budget has one limit, flops={schema.DEFAULT_FLOPS:g} by default; one typed replaces a preset's.

{_row("Tasks:", ", ".join(registry.tasks()), 13)}
{_row("Methods:", ", ".join(registry.methods()), 13)}
{_row("Experiments:", ", ".join(registry.presets("experiment")), 13)}
{_row("Launchers:", launchers, 13)}

-m, --multirun runs every combination of comma-separated values; --cfg job shows the
configuration and stops; --config-dir DIR adds a folder of presets of your own.
Exit status: 0 done, 1 a failure during the work, 2 a mistake found before it; 130, 143, 138 stopped
by Ctrl-C, SIGTERM, SIGUSR1 (128 + the signal): training has saved, the same command continues."""


def _row(head: str, text: str, indent: int) -> str:
    """A name and its text in two columns of a page of 100."""
    return textwrap.fill(f"{head} ".ljust(indent) + text, 100, subsequent_indent=" " * indent)
