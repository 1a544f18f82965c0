"""The published network, number by number: small instances of it with their inputs and outputs, where they are at hand.

Run with ``-s`` to read the largest relative error of every output.
"""

import json
from functools import cache
from pathlib import Path

import pytest
import safetensors
import torch

from streamingtalker.convert import from_released
from tests.conftest import missing

GOLDEN = Path(__file__).resolve().parent.parent.parent / "shared" / "golden"
TOLERANCE = 1e-5
KINDS = ["vocaset", "biwi"]
RULES = {"released": "", "textbook": "_textbook"}

pytestmark = pytest.mark.parametrize("kind", KINDS)


class Golden:
    """One file and the network in it."""

    def __init__(self, path: Path) -> None:
        with safetensors.safe_open(path, framework="pt") as file:
            config = json.loads(file.metadata()["config"])
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        self.kind, self.history = config["kind"], config["history_length_fixed"]
        self.talker = from_released(self.part("state_dict"), config)
        self.template = self.tensors["input/template"][:, None]
        self.vertices = self.tensors["input/vertices"]
        self.offsets = torch.cat([self.template, self.vertices], dim=1) - self.template
        self.heard = self.tensors["input/audio_features"], self.tensors["input/identity"]

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        return {name[len(prefix) + 1 :]: each for name, each in self.tensors.items() if name.startswith(f"{prefix}/")}

    def check(self, name: str, found: torch.Tensor, note: str = "") -> None:
        expected = self.tensors[f"output/{name}"]
        assert found.shape == expected.shape
        error = ((found - expected).abs().max() / expected.abs().max()).item()
        print(f"\n{self.kind:8} {name:34} {note:10} {error:.1e}", end="")
        assert error <= TOLERANCE, f"{name} differs by {error:.1e} of its largest number"


@cache
def opened(kind: str) -> Golden:
    return Golden(GOLDEN / f"{kind}.safetensors")


@pytest.fixture
def golden(kind):
    if not (GOLDEN / f"{kind}.safetensors").is_file():
        missing(f"the reference numbers of the published network are not here ({GOLDEN})")
    with torch.no_grad():
        yield opened(kind)


def test_vqvae(golden):
    talker, expected = golden.talker, golden.part("output")
    quantised = talker.vqvae.quantise(golden.offsets)
    assert quantised.indices.flatten().equal(expected["code_indices"].long())
    golden.check("quantized", talker.vqvae.encode(golden.offsets))
    golden.check("decoded_quantized", talker.vqvae.decode(expected["quantized"]))
    golden.check("vqvae_reconstruction", _reconstruction(golden))
    loss = quantised.codebook_loss + 0.25 * quantised.commitment_loss
    golden.check("vq_loss", loss.view(1))
    golden.check("start_latent", talker.start[None, None])


def _reconstruction(golden):
    latents = golden.talker.vqvae.encode(golden.vertices - golden.template)
    return golden.talker.vqvae.decode(latents) + golden.template


def test_conditions(golden):
    audio, identity = golden.heard
    latents = golden.tensors["output/quantized"][:, : audio.shape[1]]
    golden.check("conditions_teacher_forced", golden.talker.conditions(latents, audio, identity))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("collapsed", [False, True], ids=["loop", "collapsed"])
class TestSampling:
    """Every way of drawing, with the loop of 50 steps and with the map it collapses to."""

    def test_fixed_history(self, golden, rule, collapsed):
        latents = self.fixed(golden, golden.history, "noise/fixed_history", rule, collapsed)
        self.check(golden, "latents_fixed_history", latents, rule, collapsed)
        vertices = golden.talker.vqvae.decode(latents) + golden.template
        self.check(golden, "vertices_fixed_history", vertices, rule, collapsed)

    def test_full_history(self, golden, rule, collapsed):
        latents = self.fixed(golden, 0, "noise/full_history", rule, collapsed)
        self.check(golden, "latents_full_history", latents, rule, collapsed)

    def test_live(self, golden, rule, collapsed):
        start, noise = golden.tensors["output/start_latent"], golden.tensors["noise/live"]
        latents = golden.talker.sample_live(start, *golden.heard, noise, rule, collapsed)
        self.check(golden, "latents_live", latents, rule, collapsed)
        self.check(golden, "vertices_live", golden.talker.decode_live(latents) + golden.template, rule, collapsed)

    @staticmethod
    def fixed(golden, history, noise, rule, collapsed):
        start = golden.tensors["output/quantized"][:, :1]
        return golden.talker.sample_fixed(start, *golden.heard, history, golden.tensors[noise], rule, collapsed)

    @staticmethod
    def check(golden, name, found, rule, collapsed):
        golden.check(name + RULES[rule], found, "collapsed" if collapsed else "loop")
