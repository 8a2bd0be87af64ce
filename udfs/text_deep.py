"""The heavy text tier: a transformer in ONNX, run without PyTorch or transformers.

A text is cut into overlapping windows of tokens, and the highest logit of each category counts;
which window it came from is kept. On a CPU every window runs by itself at its own length:
batches gain little there, and the quantised model's scales would depend on a text's neighbours.
So a text's result is the same to the last bit in every batch. On a GPU windows of like length
run together, and results agree to the precision of the numbers.

A model is only taken when it reproduces the probes that its package holds: quantised arithmetic
is wrong on some processors.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from schemas.errors import ConfigError
from udfs import deep_explain
from udfs.calibration import FloatArray, apply_all, sigmoid
from udfs.deep_manifest import (
    TOKENIZER,
    DeepTextManifest,
    Precision,
    check_manifest,
    model_file,
)
from udfs.deep_tokens import TokenWindows
from udfs.model_package import check_files, read_manifest

PROVIDERS: Final = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_PREFERRED: Final[dict[str, tuple[Precision, ...]]] = {
    "cpu": ("int8", "fp32"),
    "cuda": ("fp16", "fp32"),
    "tensorrt": ("fp16", "fp32"),
}
_GPU_BATCH: Final = 64
LEAST_WARM: Final = 8
"""Tokens of the short window that a new session runs first."""
_AHEAD: Final = 16
"""Batches' worth of texts that are read while others are run."""
_BUCKET: Final = 16
"""Windows that run together are padded to a multiple of this many tokens."""


class DeepTextOptions(msgspec.Struct, frozen=True):
    """How a package is run."""

    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    precision: Literal["auto", "int8", "fp16", "fp32"] = "auto"
    """auto: the first that is there and passes parity; INT8 before fp32 on a CPU, fp16 before
    fp32 on a GPU."""
    threads: int = 1
    """Of the processor that one run may use."""
    max_batch: int = 0
    """Windows that run together; 0: one on a CPU, 64 on a GPU."""
    max_windows: int = 24
    """Of one text; a longer one is looked at in as many, spread evenly."""
    explain_passes: int = 24
    """Most runs of the model that one explanation may take."""


DEFAULT: Final = DeepTextOptions()


class _Batch(NamedTuple):
    rows: list[int]
    """Places of its windows among all."""
    feed: dict[str, npt.NDArray[np.int64]]


class DeepTextScorer:
    """A `udfs.contracts.Scorer`. Make one by `load`.

    Args:
        folder: a package, already checked.
        manifest: its manifest.
        precision: which of its models.
        options: how to run it.

    Raises:
        ConfigError: the model cannot be loaded on this provider.
    """

    def __init__(
        self,
        folder: Path,
        manifest: DeepTextManifest,
        precision: Precision,
        options: DeepTextOptions,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.precision = precision
        self.options = options
        self._windows = TokenWindows(
            folder / TOKENIZER, manifest.max_tokens, max(1, options.max_windows)
        )
        self._session = _session(folder / model_file(precision), options)
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        self._max_batch = options.max_batch or (1 if options.provider == "cpu" else _GPU_BATCH)

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> str:
        """The package's version and the precision: another precision gives other scores."""
        return f"{self.manifest.version}-{self.precision}"

    @property
    def categories(self) -> tuple[str, ...]:
        return self.manifest.categories

    @property
    def blend(self) -> dict[str, tuple[float, float, float]]:
        """See `DeepTextManifest.blend`."""
        return self.manifest.blend

    def score(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Calibrated probabilities, shape (len(texts), len(categories)), in [0, 1].

        Args:
            texts: normalised.
        """
        return apply_all(self.manifest.calibrators, self.raw(texts)).astype(np.float32)

    def reads(self, texts: Sequence[str]) -> list[bool]:
        """Whether the vocabulary has a token for everything in a text; normalised ones.

        A picture that is the unknown token like any other picture may be what the text is about:
        the fast tier, which knows each by its hash, ranks such texts better.
        """
        return [self._windows.knows(text) for text in texts]

    def raw(self, texts: Sequence[str]) -> FloatArray:
        """Logits before calibration, each the maximum over the text's windows."""
        if self._max_batch == 1:
            return self._located([self._windows.tokens(text).ids for text in texts])[0]
        size = _AHEAD * self._max_batch
        parts = [texts[first : first + size] for first in range(0, len(texts), size)]
        if len(parts) < 2:
            return self._located(self._windows.ids_of(texts))[0]
        # While the GPU runs one part, the processor reads the next.
        with ThreadPoolExecutor(1) as reader:
            found = []
            ahead = reader.submit(self._read, parts[0])
            for following in [*parts[1:], None]:
                batches, starts = ahead.result()
                if following is not None:
                    ahead = reader.submit(self._read, following)
                found.append(self._gathered(self._run(batches), starts)[0])
        return np.concatenate(found)

    def explain(self, text: str, category: str, limit: int = 5) -> list[tuple[int, int, float]]:
        """Words without which `category` would score lower, by how much, strongest first.

        Words of the text's strongest window are hidden one after another; of a window with more
        words than passes, neighbours are hidden together first and the strongest taken apart.

        Args:
            text: normalised.
            category: one of `categories`.
            limit: most ranges returned; their weights are logits.

        Raises:
            ValueError: the category is not one of the model's.
        """
        column = self.categories.index(category)
        if limit < 1:
            return []
        tokens = self._windows.tokens(text)
        if not tokens.ids:
            return []
        _, best = self._located([tokens.ids])
        start = int(best[0, column])
        stop = min(start + self._windows.body, len(tokens.ids))
        words = deep_explain.words_of(text, tokens.spans[start:stop])
        window = self._windows.window(tokens.ids, start)
        offset = len(self._windows.before)

        def lost(hidden: Sequence[range]) -> list[float]:
            variants = [window]
            for places in hidden:
                other = window.copy()
                for place in places:
                    other[place + offset] = self.manifest.hide_id
                variants.append(other)
            logits = self.run(variants)[:, column]
            return [float(logits[0] - value) for value in logits[1:]]

        return deep_explain.strongest(words, lost, self.options.explain_passes, limit)

    def run(self, windows: Sequence[list[int]]) -> FloatArray:
        """Logits of windows of token ids (special ones included), in the order given."""
        return self._run(self._batches(windows))

    def _run(self, batches: Sequence[_Batch]) -> FloatArray:
        out = np.empty((sum(len(batch.rows) for batch in batches), len(self.categories)))
        for batch in batches:
            out[batch.rows] = self._session.run(None, batch.feed)[0]
        return out

    def _batches(self, windows: Sequence[list[int]]) -> list[_Batch]:
        """Windows of like length together, as the model takes them."""
        out = []
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        for first in range(0, len(order), self._max_batch):
            rows = order[first : first + self._max_batch]
            longest = len(windows[rows[-1]])
            if len(rows) > 1:
                longest = min(-(-longest // _BUCKET) * _BUCKET, self.manifest.max_tokens)
            ids = np.full((len(rows), longest), self.manifest.pad_id, np.int64)
            mask = np.zeros_like(ids)
            for place, i in enumerate(rows):
                ids[place, : len(windows[i])] = windows[i]
                mask[place, : len(windows[i])] = 1
            feed = {"input_ids": ids, "attention_mask": mask}
            out.append(
                _Batch(rows, {name: value for name, value in feed.items() if name in self._inputs})
            )
        return out

    def _read(self, texts: Sequence[str]) -> tuple[list[_Batch], list[list[int]]]:
        """Batches of texts, and where the windows of each begin."""
        return self._cut(self._windows.ids_of(texts))

    def _cut(self, texts: Sequence[list[int]]) -> tuple[list[_Batch], list[list[int]]]:
        starts = [self._windows.starts(len(ids)) for ids in texts]
        windows = [
            self._windows.window(ids, start)
            for ids, own in zip(texts, starts, strict=True)
            for start in own
        ]
        return self._batches(windows), starts

    def parity(self) -> float:
        """Largest distance of a probe's probability from what fp32 gave at export.

        Before calibration: what was calibrated is one precision, and a step of an isotonic
        calibrator would make much of a difference that is nothing.
        """
        expected = sigmoid(np.array(self.manifest.probe_logits))
        distance = np.abs(sigmoid(self.raw(self.manifest.probes)) - expected).max()
        return float(distance) if np.isfinite(distance) else float("inf")

    def warm_up(self) -> None:
        """Run the shapes that come first, so that no upload pays for it."""
        for length in (LEAST_WARM, self.manifest.max_tokens):
            window = [self.manifest.pad_id] * length
            self.run([window] * self._max_batch)

    def __reduce__(self) -> tuple[Any, ...]:
        # Sessions do not pickle; the other process loads the package once for itself.
        return load, (self.folder, self.options)

    def _located(self, texts: Sequence[list[int]]) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """Logits of texts of token ids, and the first token of the window that each came from."""
        batches, starts = self._cut(texts)
        return self._gathered(self._run(batches), starts)

    def _gathered(
        self, logits: FloatArray, starts: Sequence[list[int]]
    ) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """The highest logits among each text's windows, and where those windows begin."""
        columns = len(self.categories)
        raw = np.empty((len(starts), columns))
        best = np.empty((len(starts), columns), np.int64)
        first = 0
        for i, own in enumerate(starts):
            if len(own) == 1:
                raw[i], best[i] = logits[first], own[0]
            else:
                part = logits[first : first + len(own)]
                at = part.argmax(axis=0)
                raw[i] = part[at, np.arange(columns)]
                best[i] = np.array(own)[at]
            first += len(own)
        return raw, best


_loaded: dict[tuple[Path, str, DeepTextOptions], DeepTextScorer] = {}
_lock = threading.Lock()


def load(folder: Path, options: DeepTextOptions = DEFAULT) -> DeepTextScorer:
    """Load a package once per process: check its files, warm it up, and hold it to its probes.

    Args:
        folder: of the package. The same version in the same folder gives the same object again.
        options: how to run it.

    Raises:
        ConfigError: a file is missing or changed, the provider is not there, or no precision
            that may be used reproduces the probes; says each reason. Whoever has a model that
            works keeps it.
    """
    folder = folder.resolve()
    manifest = read_manifest(folder, DeepTextManifest)
    check_manifest(manifest, folder)
    key = (folder, manifest.version, options)
    with _lock:
        if key not in _loaded:
            check_files(folder, manifest.files)
            _loaded[key] = _first_that_fits(folder, manifest, options)
        return _loaded[key]


def _first_that_fits(
    folder: Path, manifest: DeepTextManifest, options: DeepTextOptions
) -> DeepTextScorer:
    wanted = _PREFERRED[options.provider] if options.precision == "auto" else (options.precision,)
    there = [precision for precision in wanted if precision in manifest.precisions]
    reasons = [] if there else [f"has no model of precision {' or '.join(wanted)}"]
    for precision in there:
        try:
            scorer = DeepTextScorer(folder, manifest, precision, options)
            scorer.warm_up()
            distance = scorer.parity()
        except ConfigError as error:
            reasons.append(error.message)
            continue
        if distance <= manifest.parity:
            return scorer
        reasons.append(
            f"{precision} misses its probes by {distance:.3f} (at most {manifest.parity}): "
            "this processor computes it differently"
        )
    raise ConfigError("; ".join(reasons), file=str(folder))


def _session(path: Path, options: DeepTextOptions) -> Any:
    provider = PROVIDERS[options.provider]
    if provider not in ort.get_available_providers():
        raise ConfigError(
            f"provider {options.provider} is not in this onnxruntime; there are: "
            f"{', '.join(ort.get_available_providers())}",
            file=str(path),
        )
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = max(1, options.threads)
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    # A waiting thread that spins takes the core from whoever has work.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    chain: list[Any] = [provider]
    if options.provider != "cpu":
        ort.preload_dlls()  # CUDA's libraries, where they came as Python packages
        if options.provider == "tensorrt":
            cache = str(path.parent / ".tensorrt")
            chain = [
                (provider, {"trt_engine_cache_enable": True, "trt_engine_cache_path": cache}),
                PROVIDERS["cuda"],
            ]
        chain.append(PROVIDERS["cpu"])
    try:
        session = ort.InferenceSession(str(path), settings, providers=chain)
    except Exception as error:  # noqa: BLE001 - the runtime's errors share no class but this
        raise ConfigError(f"cannot be loaded: {error}", file=str(path)) from None
    if session.get_providers()[0] != provider:
        # It would run on the processor instead, a hundred times slower, and not say so.
        raise ConfigError(f"provider {options.provider} does not start here", file=str(path))
    return session
