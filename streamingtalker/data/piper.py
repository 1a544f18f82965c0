"""A Piper voice (VITS, Kim et al. 2021) run from its file, with the time each symbol takes and noise that is seeded.

Only the voice's ONNX graph and the program espeak-ng, whose alphabet these voices were trained on, are needed.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamingtalker.errors import UserError

HOP = 256  # samples a frame of the graph's durations
NOISE, DURATION_NOISE = 0.667, 0.8  # the scales the voices are published with
LONGEST = 4096  # frames of noise, 47 s of speech
_CLAUSE = re.compile(r"([^,.;:!?]+)([,.;:!?]*)")


class PiperError(UserError):
    """A Piper voice cannot be run."""


@dataclass(frozen=True)
class Spoken:
    """A sentence: its sound and when each symbol sounds."""

    pcm: np.ndarray  # float32 [samples]
    symbols: str  # espeak's IPA, stress marks, spaces and punctuation
    edges: np.ndarray  # float64 [symbols + 2] seconds: 0, the start of each symbol, the end of the last, the end


class PiperNet:
    """The graph of a voice. Its durations are made an output; its two sources of noise are made inputs."""

    DURATIONS = "/Ceil_output_0"  # float [1, 1, ids], frames of HOP samples
    BEGIN, PAD, END = "^", "_", "$"

    def __init__(self, path: Path) -> None:
        try:
            import onnx
        except ImportError as error:
            raise PiperError("Piper voices need onnx for their phone times; 'pip install onnx'.") from error

        settings = json.loads(Path(f"{path}.json").read_text())
        self.rate = int(settings["audio"]["sample_rate"])
        self.language = str(settings["espeak"]["voice"])
        self._ids = {symbol: ids[0] for symbol, ids in settings["phoneme_id_map"].items()}
        model = onnx.load(str(path))
        self._noises = _noise_as_inputs(model)
        self._session = session_with_output(model, self.DURATIONS)

    def speak(self, symbols: str, pace: float, rng: np.random.Generator) -> Spoken:
        """``symbols`` as sound, ``pace`` times as fast as the voice's own speed."""
        known = "".join(symbol for symbol in symbols if symbol in self._ids)
        padded = [self.BEGIN, *known, self.END]
        ids = np.asarray([[self._ids[s] for symbol in padded for s in (symbol, self.PAD)][:-1]], np.int64)
        inputs: dict[str, np.ndarray] = {
            "input": ids,
            "input_lengths": np.asarray([ids.size], np.int64),
            "scales": np.asarray([NOISE, 1 / pace, DURATION_NOISE], np.float32),
        }
        for name, channels in self._noises.items():
            inputs[name] = rng.standard_normal((1, channels, LONGEST), np.float32)
        sound, durations = self._session.run(None, inputs)
        ends = np.cumsum(durations.reshape(-1)) * HOP / self.rate  # of symbol, pad, symbol, pad, …, symbol
        return Spoken(sound.reshape(-1), known, np.concatenate([[0.0], ends[::2]]))  # a pad is its successor's onset


def session_with_output(model: Any, name: str) -> Any:  # noqa: ANN401 - the libraries are untyped
    """An ONNX ``model`` ready to run on one thread, which also gives what is called ``name`` inside it, floats."""
    import onnxruntime
    from onnx import TensorProto, helper

    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _noise_as_inputs(model: Any) -> dict[str, int]:  # noqa: ANN401 - the library is untyped
    """Replace each draw of the graph's own noise by as much as needed of an input; the inputs' channels by name."""
    from onnx import TensorProto, helper

    channels = {"/dp/RandomNormalLike": 2, "/RandomNormalLike": 192}  # of durations and of the latent sound
    axes = helper.make_tensor("noise_axis", TensorProto.INT64, [1], [2])
    model.graph.initializer.append(axes)
    model.graph.initializer.append(helper.make_tensor("noise_start", TensorProto.INT64, [1], [0]))
    for node in list(model.graph.node):
        if node.name not in channels:
            continue
        name = f"noise{node.name}"
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels[node.name], None]))
        shape = helper.make_node("Shape", [node.input[0]], [f"{name}/shape"], start=2)
        cut = helper.make_node("Slice", [name, "noise_start", f"{name}/shape", "noise_axis"], list(node.output))
        at = list(model.graph.node).index(node)
        model.graph.node.remove(node)
        model.graph.node.insert(at, cut)
        model.graph.node.insert(at, shape)
    return {f"noise{name}": count for name, count in channels.items()}


def pronounce(text: str, language: str) -> list[str]:
    """espeak-ng's IPA of each sentence of ``text``, with the punctuation that the voices read as pauses."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise PiperError("The program espeak-ng is not installed; install it with 'apt install espeak-ng'.")
    sentences: list[str] = []
    pieces: list[str] = []
    for words, marks in _CLAUSE.findall(re.sub(r'["“”]', " ", text)):
        if words.strip():
            pieces.append(_ipa([program, "-q", "--ipa", "-v", language, words.strip()]) + marks[:1])
        if pieces and marks[:1] in (".", "!", "?"):
            sentences.append(" ".join(pieces))
            pieces = []
    return sentences + ([" ".join(pieces) + "."] if pieces else [])


def _ipa(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise PiperError(f"espeak-ng failed ({done.stderr.strip()[-200:]}); try '{' '.join(command)}' by hand.")
    return " ".join(re.sub(r"\(.*?\)", "", done.stdout).split())  # without marks of a change of language
