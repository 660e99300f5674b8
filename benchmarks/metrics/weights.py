"""Files of a metric's frozen network: found, named by their digest, read as plain tensors."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from crossflow.errors import InputError
from crossflow.files import is_file, is_folder, sha256

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
    files = sorted(path.glob(name)) if is_folder(path) else [path] * is_file(path)
    if len(files) != 1:
        problem = f"{len(files)} files {name}, need one" if files else f"no such file, or no {name}"
        raise InputError(f"{field}={given}: {problem}; {source}")
    return files[0], sha256(files[0])


def read_tensors(field: str, path: Path) -> dict[str, Tensor]:
    """Tensors of a file by name: .safetensors, .npz, or a state dict that torch.save wrote.

    Nothing in it is run. InputError for a file that is damaged or holds anything else.
    """
    import numpy as np
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".npz":
            # Opened here: numpy leaves a damaged file open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        state = torch.load(path, map_location="cpu", weights_only=True)
        tensors = state.get("state_dict", state)
        if not all(torch.is_tensor(value) for value in tensors.values()):
            raise ValueError("it is no state dict: names and tensors are needed")
        return {str(name): value for name, value in tensors.items()}
    except (
        *(OSError, ValueError, EOFError, RuntimeError, AttributeError),
        *(zipfile.BadZipFile, SafetensorError, pickle.UnpicklingError),
    ) as error:
        first = str(error).strip().partition("\n")[0][:120]
        raise InputError(f"{field}: {path} holds no plain tensors ({first})") from None
