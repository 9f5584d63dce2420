"""Vectors of texts that several cells read, encoded once: every seed and label count of a rung answers the same test
texts, and small label sets lie inside larger ones.

Each window is encoded by itself, so its vector depends on nothing but the window and the weights: not on which cell
asked first, nor on how many workers there were. Files are parts of at most a few hundred windows, found again by the
windows' content; how long each took is kept, so that a cell can be told what it would have cost alone.

S windows · L layers read · P pooled width
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foretext.data.prepared import Prepared
from foretext.errors import ForetextError
from foretext.features import encode
from foretext.folder import fingerprint, is_sealed, open_sealed, read_arrays, sealing, write_arrays
from foretext.heads.classify import ClassifyHeadConfig
from foretext.types import Encoder, Floats

KIND = "shared features"


@dataclass(kw_only=True)
class SharedFeatures:
    """A `features.Remember` over the folder `path`. `lent`: seconds that encoding took, elsewhere or earlier, for the
    windows that were asked for and found."""

    path: Path
    lent: float = 0.0
    _known: dict[str, dict[str, tuple[Floats, float]]] = field(default_factory=dict)
    _read: set[Path] = field(default_factory=set)

    def __call__(
        self,
        encoder: Encoder,
        prepared: Prepared,
        config: ClassifyHeadConfig,
        *,
        source: str,
        most_tokens: int,
        device: str,
        bf16: bool,
    ) -> tuple[Floats, bool]:
        """Pooled layers of all windows, fp32 [S,L,P], and whether all were there."""
        if config.host != "none":  # what is shared is a vector a window
            return encode(encoder, prepared, config, most_tokens=most_tokens, device=device, bf16=bf16), False
        folder = self.path / fingerprint(KIND, source, config.pool, config.layers, bf16)
        keys = window_keys(prepared)
        known = self._parts(folder, keys)
        missing = [number for number, key in enumerate(keys) if key not in known]
        self.lent += sum(known[key][1] for key in keys if key in known)
        for number in missing:
            if keys[number] not in known:  # the same text may stand there twice
                known[keys[number]] = _alone(encoder, prepared, config, number, device, bf16)
        if missing:
            self._write(folder, {keys[number]: known[keys[number]] for number in missing})
        return np.stack([known[key][0] for key in keys]), not missing

    def _parts(self, folder: Path, keys: list[str]) -> dict[str, tuple[Floats, float]]:
        """What is known of this encoder; files are looked through again only where a window is missing."""
        known = self._known.setdefault(folder.name, {})
        if all(key in known for key in keys) or not folder.is_dir():
            return known
        for part in sorted(folder.iterdir()):
            if part in self._read or not is_sealed(part):
                continue
            self._read.add(part)
            try:
                names = open_sealed(part, kind=KIND).meta["windows"]
                arrays = read_arrays(part / "features.safetensors")
            except ForetextError:
                continue  # damaged: its windows are encoded again
            for name, features, seconds in zip(names, arrays["features"], arrays["seconds"], strict=True):
                known.setdefault(name, (features, float(seconds)))
        return known

    def _write(self, folder: Path, found: dict[str, tuple[Floats, float]]) -> None:
        names = sorted(found)
        part = folder / fingerprint(names)
        with sealing(part, kind=KIND, key=part.name, meta={"windows": names}, replace=True) as draft:
            seconds = np.array([found[name][1] for name in names])
            write_arrays(draft / "features.safetensors", {"features": np.stack([found[n][0] for n in names]), "seconds": seconds})
        self._read.add(part)


def window_keys(prepared: Prepared) -> list[str]:
    """A fingerprint of each window's tokens, [S]."""
    keys = []
    for number, (start, stop) in enumerate(zip(prepared.first[:-1].tolist(), prepared.first[1:].tolist(), strict=True)):
        segment = b"" if prepared.segment is None else np.asarray(prepared.segment[start:stop], np.int8).tobytes()
        summary = -1 if prepared.summary is None else int(prepared.summary[number])
        keys.append(fingerprint(np.asarray(prepared.ids[start:stop], np.int32).tobytes(), segment, summary))
    return keys


def _alone(
    encoder: Encoder, prepared: Prepared, config: ClassifyHeadConfig, number: int, device: str, bf16: bool
) -> tuple[Floats, float]:
    """[L,P] of one window, and the seconds it took."""
    start = time.perf_counter()
    features = encode(encoder, prepared, config, most_tokens=1, windows=np.array([number]), device=device, bf16=bf16)
    return features[0], time.perf_counter() - start
