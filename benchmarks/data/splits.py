"""What every reader shares: `task.root`, choices, digests of contents, the cut of validation."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.config.inputs import is_folder
from benchmarks.data.files import Member, first_few
from benchmarks.data.images import spread
from crossflow.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from benchmarks.config.schema import Config

Report = Callable[[str, int, int], None]  # what is being made, how much is done, of how much
AnyFile = Path | Member
T = TypeVar("T")


def digest(*parts: bytes | str | np.ndarray) -> str:
    """SHA-256 of texts and arrays (with their shape and type), 16 hex digits."""
    return digest_all(parts)


def digest_all(parts: Iterable[bytes | str | np.ndarray]) -> str:
    """`digest` of what need not fit into memory: parts are taken one after the other."""
    whole = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            part = part.encode()
        if not isinstance(part, bytes):
            whole.update(f"{part.dtype}{part.shape}".encode())
            part = part.tobytes()
        whole.update(len(part).to_bytes(8, "little"))
        whole.update(part)
    return whole.hexdigest()[:16]


def require_root(config: Config, files: str, published: str) -> Path:
    """The folder `task.root`, or InputError: what it must hold, and where that is published."""
    root = config.task.root
    if root is not None and is_folder(Path(root)):
        return Path(root)
    problem = "task.root is not set" if root is None else f"task.root={root}: no such folder"
    looked_for = f"{config.task.name} looks for {files} in task.root=DIR"
    raise InputError(f"{problem}; {looked_for}; {published}")


def choose(field_name: str, value: Any, allowed: Sequence[Any]) -> Any:
    """`value` if it is allowed, else InputError that lists what is."""
    if value in allowed:
        return value
    raise InputError(f"{field_name}={value}: this task takes {', '.join(map(str, allowed))}")


def refuse_shared(both: Sequence[Any], what: str) -> None:
    """InputError that names what is both scored and trained on. what: their kind, as frames."""
    if both:
        where = "are scored and in the training split too"
        raise InputError(f"{len(both)} {what} {where}: {first_few(both)}")


def refuse_copies(
    scored: Iterable[AnyFile], trained: Iterable[tuple[str, AnyFile]], what: str
) -> None:
    """`refuse_shared`: named files that are scored ones, byte for byte; equal lengths are read."""
    known = list(scored)
    lengths = {path.stat().st_size for path in known}
    alike = [(name, path) for name, path in trained if path.stat().st_size in lengths]
    held = {digest(path.read_bytes()) for path in known if alike}
    refuse_shared([name for name, path in alike if digest(path.read_bytes()) in held], what)


def cut(
    items: Sequence[T], group: Callable[[T], str], train_limit: int | None, held_limit: int | None
) -> tuple[list[T], list[T]]:
    """(training, validation) items, in their order; no group (scene, image) is in both.

    Groups leave for validation in the order of the hash of their name until one item in 20 (at
    least 2, at most 500) has left, however the list is sorted. Limits then space the items evenly.
    """
    sizes = Counter(map(group, items))
    if len(sizes) < 2:
        need = "validation is cut from it by scene or image, give at least two"
        raise InputError(f"the training split has {len(sizes)} scene or image: {need}")
    wanted = min(500, max(2, len(items) // 20))
    leaving: set[str] = set()
    for name in sorted(sizes, key=lambda name: hashlib.sha256(name.encode()).digest())[:-1]:
        if wanted <= 0:
            break
        leaving.add(name)
        wanted -= sizes[name]
    train = [item for item in items if group(item) not in leaving]
    validation = [item for item in items if group(item) in leaving]
    return spread(train, train_limit), spread(validation, held_limit)
