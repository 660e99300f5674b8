"""Files of a metric's frozen network: found, named by their digest, read as plain tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.config.inputs import is_file, is_folder
from crossflow.errors import InputError
from crossflow.files import sha256

if TYPE_CHECKING:
    from torch import Tensor


def find_file(field: str, given: str | None, name: str, source: str) -> tuple[Path | None, str]:
    """A file and its SHA-256, or None and why there is none: nothing was given.

    It is the file at `given`, or the one file `name` (a pattern) in the folder `given`. field: the
    option that gave it; source: what it is, and where it is published. InputError where there is no
    such file, or several: call it before anything is trained.
    """
    if given is None:
        return None, f"{field} is not set: {source}"
    path = Path(given).expanduser()
    files = list(path.glob(name)) if is_folder(path) else [path] * is_file(path)
    if len(files) != 1:
        number = f"{len(files) or 'no'} such files, need one (in a folder: {name})"
        raise InputError(f"{field}={given}: {number}; {source}")
    return files[0], sha256(files[0])


def used_digest(file: tuple[Path | None, str]) -> str | None:
    """The SHA-256 of what `find_file` found, None where it found nothing: for a score key."""
    return None if file[0] is None else file[1]


def read_tensors(field: str, path: Path) -> dict[str, Tensor]:
    """Tensors of a file by name: .safetensors, .npz, or a state dict that torch.save wrote.

    Nothing in it is run. InputError for a file that is damaged or holds anything else.
    """
    import numpy as np
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".npz":
            # Opened here: numpy leaves a damaged file open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        if not all(torch.is_tensor(value) for value in tensors.values()):
            raise ValueError("it is no state dict: names and tensors are needed")
        return dict(tensors)
    except Exception as error:  # three libraries, each with errors of its own
        first = str(error).strip().partition("\n")[0][:120]
        raise InputError(f"{field}: {path} holds no plain tensors ({first})") from None
