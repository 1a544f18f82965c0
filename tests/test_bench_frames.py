"""What a frame costs: blocks, their parts, the published path beside them; the commands that tell."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from streamingtalker.bench import main
from streamingtalker.benchmark import frames, models
from streamingtalker.benchmark.hearing import difference
from streamingtalker.benchmark.passage import DECODER, EAR, PARTS, Block, median_cost, passage
from streamingtalker.benchmark.published_live import PublishedLive
from streamingtalker.config import frame_count
from streamingtalker.errors import UserError
from streamingtalker.released import ReleasedMotion
from streamingtalker.training.published import PRESETS
from tests.conftest import tiny_talker
from tests.test_released import DIMS, live, released, speech


def block(first: int, count: int, seconds: float) -> Block:
    return Block(first, count, dict.fromkeys(PARTS, 0.0) | {EAR: seconds, DECODER: seconds})


@pytest.mark.parametrize("model", [tiny_talker(), released()], ids=["ours", "published"])
def test_a_passage_gives_every_frame_and_the_time_of_every_part(model):
    pcm = speech(2)
    blocks = passage(model, pcm)
    assert sum(each.frames for each in blocks) == frame_count(len(pcm), 30)
    assert [each.first for each in blocks] == np.cumsum([0, *(each.frames for each in blocks)])[:-1].tolist()
    assert all(sum(each.spent[part] for each in blocks) > 0 for part in PARTS)


def test_costs_are_medians_over_passages_between_two_places():
    passages = [[block(0, 10, 0.1), block(10, 10, scale * 0.1)] for scale in (1, 2, 9)]
    assert median_cost(passages, [EAR], 0.5) == pytest.approx(20)
    assert median_cost(passages, [EAR, DECODER], 0, 0.5) == pytest.approx(20)
    assert passages[0][0].cost([EAR]) == pytest.approx(10)


def test_the_reference_is_the_published_live_path():
    talker = released()
    audio = torch.randn(7, 12)
    expected_latents, expected = live(talker, audio)
    random, size = torch.Generator().manual_seed(3), talker.dims.motion.latent
    path = PublishedLive(talker, "textbook", identity=1)
    for k in range(7):
        noise = torch.cat([torch.zeros(1, k, size), torch.randn(1, 1, size, generator=random)], dim=1)
        torch.testing.assert_close(path.next_frame(audio[None], noise), expected[k], rtol=0, atol=1e-5)
    torch.testing.assert_close(path.latents[0, 1:], expected_latents, rtol=0, atol=1e-5)
    path.skip_to(4)
    assert path.latents.shape[1] == 5 and path.hear(speech(0.5)).shape == (1, 15, 12)


@pytest.fixture
def tiny_models(monkeypatch):
    monkeypatch.setattr(models, "random_talker", lambda preset, device: released())
    monkeypatch.setattr(models, "load_talker", lambda path, device, recogniser: tiny_talker())
    monkeypatch.setattr(models, "load_speech", lambda paths: speech(4))
    monkeypatch.setattr(frames, "PLACES", (0, 5))


def test_frames_beside_the_published_path(tiny_models, tmp_path, capsys):
    report = tmp_path / "frames.json"
    command = ["frames", "--preset", "vocaset", "--seconds", "4", "--runs", "2", "--json", str(report)]
    assert main(command) == 0
    document = json.loads(report.read_text())
    assert document["model"] == "vocaset, random weights" and document["machine"]["cores"] > 0
    assert document["first_frame_needs_s"] == 0.5 and document["first_frame_gives"] == 2
    rows = document["frames"]
    assert rows["everything"]["median"] > rows["without its audio encoder"]["median"] > 0
    assert set(document["reference"]["frames"]) == {"0", "5"} and document["reference"]["first_frame_ratio"] > 0
    assert "| published path, of 9 s |" in capsys.readouterr().out


def test_our_own_model_has_no_published_path(tiny_models, capsys):
    assert main(["frames", "--seconds", "2", "--runs", "1"]) == 0
    assert "published path" not in capsys.readouterr().out


def test_components_beside_the_papers(tiny_models, tmp_path, capsys):
    report = tmp_path / "components.json"
    assert main(["components", "--preset", "vocaset", "--seconds", "2", "--runs", "1", "--json", str(report)]) == 0
    rows = json.loads(report.read_text())["components"]
    assert set(rows) == {*PARTS, "all"}
    assert sum(rows[part]["median"] for part in PARTS) == pytest.approx(rows["all"]["median"])
    assert "| diffusion head |" in capsys.readouterr().out


def test_rounding_is_measured_in_millimetres(tiny_models, capsys):
    report = ["frames", "--preset", "vocaset", "--seconds", "2", "--runs", "1", "--precision", "bfloat16"]
    if main([*report, "--no-reference"]) != 0:
        assert "--precision bfloat16 is not for this processor" in capsys.readouterr().err
    else:
        assert "Rounding moves a vertex by" in capsys.readouterr().out


def test_hearing_through_windows_beside_the_whole_utterance(tiny_models, tmp_path, capsys):
    report = tmp_path / "hearing.json"
    assert main(["hearing", "--preset", "vocaset", "--seconds", "3", "--json", str(report)]) == 0
    rows = json.loads(report.read_text())["windows"]
    assert len(rows) > 4 and all(0 < row["difference_exact"] < 1 for row in rows)
    assert rows[-1]["difference_exact"] < rows[0]["difference_exact"]
    assert "Alignment of the corners alone" in capsys.readouterr().out
    assert main(["hearing"]) == 2 and "HuBERT" in capsys.readouterr().err


def test_difference_is_a_share_of_the_spread():
    truth = torch.tensor([[1.0], [3.0]])
    assert difference(truth, truth) == 0 and difference(truth + 1, truth) == pytest.approx(1)


def test_what_cannot_be_measured_is_said(tiny_models, capsys):
    assert main(["components", "--precision", "bfloat16"]) == 2
    assert "--precision" in capsys.readouterr().err


def test_random_weights_move_a_face_as_far_as_a_mouth_goes(monkeypatch):
    small = {"width": 16, "heads": 2, "layers": 1, "feedforward": 8, "components": 4, "code_dim": 4, "codes": 8}
    monkeypatch.setattr("streamingtalker.training.published.PRESETS", {"vocaset": _preset(small)})
    talker = models.random_talker("vocaset")
    with torch.no_grad():
        offsets = talker.vqvae.decode(torch.randn(1, 30, 16))
    assert 0.002 < offsets.abs().max() < 0.05
    with pytest.raises(UserError, match="choose 'cpu'"):
        models.random_talker("vocaset", "nonsense")


def _preset(motion):
    return replace(PRESETS["vocaset"], dims=replace(DIMS, motion=ReleasedMotion(7, **motion)))
