"""Speech engines: how sound is cut, and a model of the user's through sherpa-onnx."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import io
import os
import subprocess
import sys
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from operators.media_analyse import MediaAnalyser
from schemas.errors import ConfigError, DependencyUnavailableError
from schemas.media_job import SpeechModel, SpeechPart, load_media
from tests.deep_kit import _attribute, _field, _node, _number, _tensor, _value
from tests.media_kit import settings, upload
from udfs.media_speech import (
    _KINDS,
    RATE,
    make_transcriber,
    model_file,
    spoken,
    stretches,
    tokens_file,
)

needs_sherpa = pytest.mark.skipif(
    importlib.util.find_spec("sherpa_onnx") is None, reason="sherpa-onnx is not installed"
)
VOICE = ["▁hello", "▁you", "<blk>"]


def speech(*seconds: float) -> bytes:
    """Something like a voice for so long, then silence for so long, and so on: 16 bits, mono."""
    rng = np.random.default_rng(2)
    parts = []
    for place, length in enumerate(seconds):
        t = np.arange(int(RATE * length)) / RATE
        if place % 2:
            parts.append(rng.normal(0, 5, len(t)))
            continue
        # A buzz of 120 Hz with the resonances of a vowel, four syllables a second.
        buzz = sum(
            np.exp(-(((120 * n - 700) / 500) ** 2)) * np.sin(2 * np.pi * 120 * n * t)
            + 0.5 * np.exp(-(((120 * n - 1800) / 600) ** 2)) * np.sin(2 * np.pi * 120 * n * t)
            for n in range(1, 30)
        )
        parts.append(3000 * buzz * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * t)))
    sound = np.concatenate(parts).clip(-32000, 32000).astype("<i2")
    return bytes(sound.tobytes())


def wav(sound: bytes) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound)
    return buffer.getvalue()


def property_of(name: str, value: str) -> bytes:
    """One entry of an ONNX file's metadata."""
    return _field(14, _field(1, name.encode()) + _field(2, value.encode()))


def ctc_model(folder: Path, *, told: bool = True) -> Path:
    """A NeMo CTC model that hears `hello` in whatever it is given; gives the folder.

    Args:
        folder: to make.
        told: whether the file says what kind of model it is.
    """
    folder.mkdir()
    bias = np.array([2.0, 0.0, 0.0], np.float32)
    nodes = [
        _node("Transpose", ["audio_signal"], "frames", _permutation(0, 2, 1)),
        _node("MatMul", ["frames", "weights"], "zeros"),
        _node("Add", ["zeros", "bias"], "sums"),
        _node("LogSoftmax", ["sums"], "logprobs", _attribute("axis", 2)),
    ]
    weights = np.zeros((80, len(VOICE)), np.float32)
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"voice")
    graph += _field(5, _tensor("weights", 1, weights.shape, weights.tobytes()))
    graph += _field(5, _tensor("bias", 1, bias.shape, bias.tobytes()))
    graph += _field(11, _value("audio_signal", 1, ("batch", 80, "frames")))
    graph += _field(11, _value("length", 7, ("batch",)))
    graph += _field(12, _value("logprobs", 1, ("batch", "frames", len(VOICE))))
    model = _number(1, 8) + _field(7, graph) + _field(8, _number(2, 17))
    for name, value in {
        "model_type": "EncDecCTCModelBPE", "vocab_size": str(len(VOICE) - 1),
        "subsampling_factor": "1", "normalize_type": "per_feature",
    }.items():  # fmt: skip
        model += property_of(name, value) if told else b""
    (folder / "model.onnx").write_bytes(model)
    tokens = "".join(f"{token} {place}\n" for place, token in enumerate(VOICE))
    (folder / "tokens.txt").write_text(tokens, "utf-8")
    return folder


def _permutation(*axes: int) -> bytes:
    return _field(1, b"perm") + b"".join(_number(8, axis) for axis in axes) + _number(20, 7)


def test_sound_is_cut_at_pauses_and_no_stretch_is_longer_than_asked() -> None:
    sound = speech(2.0, 1.5, 2.0, 1.0)
    found = stretches(sound)
    assert [round(start) for start, _ in found] == [0, 4] or [
        round(start) for start, _ in found
    ] == [0, 3]
    assert all(1.5 < len(each) / RATE / 2 < 3 for _, each in found)
    short = stretches(sound, most_s=0.5)
    assert len(short) > len(found)
    assert all(len(each) / RATE / 2 < 0.6 for _, each in short)
    assert b"".join(each for _, each in short)[:16000] == found[0][1][:16000]
    assert stretches(speech(0.0, 2.0)) == []
    assert stretches(b"") == []


def test_words_have_the_time_of_their_first_token_where_there_are_times() -> None:
    result = SimpleNamespace(
        text=" so be it", tokens=["▁so", "▁b", "e", "▁it"], timestamps=[0.1, 0.5, 0.6, 0.9]
    )
    assert spoken(result, 2.0) == [("so", 2.1, 1.0), ("be", 2.5, 1.0), ("it", 2.9, 1.0)]
    without = SimpleNamespace(text="so be it", tokens=["so", " be", " it"], timestamps=[])
    assert [word.seconds for word in spoken(without, 2.0)] == [2.0] * 3
    assert spoken(SimpleNamespace(text="", tokens=[], timestamps=[]), 1.0) == []


def test_files_of_a_model_are_found_and_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"one \*encoder\*.onnx; there are: none"):
        model_file(tmp_path, "encoder")
    with pytest.raises(FileNotFoundError, match=r"one tokens\.txt"):
        tokens_file(tmp_path)
    for name in ("tiny-encoder.onnx", "tiny-encoder.int8.onnx", "tiny-tokens.txt"):
        (tmp_path / name).touch()
    assert model_file(tmp_path, "encoder").name == "tiny-encoder.int8.onnx"
    assert tokens_file(tmp_path).name == "tiny-tokens.txt"
    (tmp_path / "base-encoder.int8.onnx").touch()
    with pytest.raises(FileNotFoundError, match="base-encoder"):
        model_file(tmp_path, "encoder")


@pytest.mark.parametrize(
    ("kind", "files", "loader", "more"),
    [
        ("whisper", ("encoder", "decoder"), "from_whisper", {"language": "de"}),
        ("transducer", ("encoder", "decoder", "joiner"), "from_transducer", {}),
        ("nemo_transducer", ("encoder", "decoder", "joiner"), "from_transducer",
         {"model_type": "nemo_transducer"}),
        ("paraformer", ("model",), "from_paraformer", {}),
        ("sense_voice", ("model",), "from_sense_voice", {"language": "de"}),
    ],
)  # fmt: skip
def test_every_kind_is_loaded_by_its_own_loader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, files: tuple[str, ...],
    loader: str, more: dict[str, str],
) -> None:  # fmt: skip
    for name in files:
        (tmp_path / f"{name}.onnx").touch()
    (tmp_path / "tokens.txt").touch()
    called: dict[str, Any] = {}
    recogniser = SimpleNamespace(**{loader: lambda **given: called.update(given)})
    monkeypatch.setitem(sys.modules, "sherpa_onnx", SimpleNamespace(OfflineRecognizer=recogniser))
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0")
    make_transcriber(
        SpeechPart(engine="sherpa-onnx",
                   model=SpeechModel(kind=kind, folder=tmp_path, language="de"))
    )  # fmt: skip
    names = {"paraformer"} if kind == "paraformer" else set(files)
    assert set(called) == names | set(more) | {"tokens", "num_threads"}
    assert {name: called[name] for name in more} == more


@needs_sherpa
@pytest.mark.parametrize("kind", ["whisper", "transducer", "nemo_transducer", "paraformer",
                                  "sense_voice", "nemo_ctc", "zipformer_ctc"])  # fmt: skip
def test_the_library_has_the_loaders_and_arguments_that_are_used(kind: str) -> None:
    own = _KINDS[kind]
    library = importlib.import_module("sherpa_onnx")
    there = inspect.signature(getattr(library.OfflineRecognizer, own.loader)).parameters
    used = {*own.files, "tokens", "num_threads", *(["language"] if own.speaks else [])}
    used |= {"model_type"} if own.model_type else set()
    assert used <= set(there)


def test_a_model_belongs_to_sherpa_onnx_and_to_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "media.yaml"
    path.write_text("version: 1\nspeech: {engine: sherpa-onnx}\n")
    with pytest.raises(ConfigError, match=r"media\.yaml:2.*needs a model"):
        load_media(path)
    path.write_text(
        "version: 1\nspeech:\n  engine: none\n  model: {kind: whisper, folder: models/tiny}\n"
    )
    with pytest.raises(ConfigError, match="needs a model"):
        load_media(path)


@needs_sherpa
def test_a_sound_track_is_transcribed_by_the_users_model_in_the_sandbox(tmp_path: Path) -> None:
    part = SpeechPart(
        engine="sherpa-onnx",
        model=SpeechModel(kind="nemo_ctc", folder=ctc_model(tmp_path / "voice")),
    )
    (tmp_path / "talk.wav").write_bytes(wav(speech(2.0, 1.5, 2.0, 1.0)))
    with MediaAnalyser(settings(tmp_path, speech=part)) as analyser:
        assert analyser.ready.missing == {}
        (found,) = analyser.analyse([upload("talk", f"file://{tmp_path}/talk.wav", "video")])
    assert found.errors == []
    (text,) = found.texts
    assert (text.source, text.engine, text.text) == ("transcript", "sherpa-onnx", "hello hello")
    times = [part.seconds for part in text.parts]
    assert times[0] is not None
    assert times[1] is not None
    assert times[1] - times[0] > 2
    assert found.versions["sherpa-onnx"]


@needs_sherpa
def test_the_library_starts_no_threads_so_that_forking_after_it_is_sound(tmp_path: Path) -> None:
    folder = ctc_model(tmp_path / "voice")
    script = (
        "import os, sherpa_onnx\n"
        f"sherpa_onnx.OfflineRecognizer.from_nemo_ctc(model='{folder}/model.onnx',"
        f" tokens='{folder}/tokens.txt', num_threads=1)\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    environment = {"PATH": os.environ["PATH"], "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"


def test_a_model_that_is_not_there_is_named_and_the_other_steps_go_on(tmp_path: Path) -> None:
    part = SpeechPart(
        engine="sherpa-onnx", model=SpeechModel(kind="whisper", folder=tmp_path / "absent")
    )
    (tmp_path / "talk.wav").write_bytes(wav(speech(0.5)))
    with MediaAnalyser(settings(tmp_path, speech=part)) as analyser:
        assert "must hold one *encoder*.onnx" in analyser.ready.missing["transcript"]
        (found,) = analyser.analyse([upload("talk", f"file://{tmp_path}/talk.wav", "video")])
    (failure,) = found.errors
    assert (failure.kind, failure.step) == ("missing", "transcript")
    assert found.facts.seconds == pytest.approx(0.5, abs=0.1)


@needs_sherpa
def test_a_file_that_is_no_model_is_named_and_one_of_another_kind_stops_the_start(
    tmp_path: Path,
) -> None:
    folder = ctc_model(tmp_path / "voice", told=False)
    part = SpeechPart(engine="sherpa-onnx", model=SpeechModel(kind="nemo_ctc", folder=folder))
    document = settings(tmp_path, speech=part)
    # The library ends its process where a model does not say what it needs to know.
    with pytest.raises(DependencyUnavailableError, match="did not start"):
        MediaAnalyser(document)
    (folder / "model.onnx").write_bytes(b"no model")
    with MediaAnalyser(document) as analyser:
        assert "Load model from" in analyser.ready.missing["transcript"]
