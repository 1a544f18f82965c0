"""The network without one of its parts, the baselines, and the table of them all."""

import json

import numpy as np
import pytest
import torch

from streamingtalker import ablate
from streamingtalker.checkpoint import load_talker, save_talker
from streamingtalker.config import ConfigError
from streamingtalker.streamer import FaceStreamer
from streamingtalker.train import main
from streamingtalker.training.comparison import Row, markdown
from streamingtalker.training.full_sequence import FullSequence
from streamingtalker.training.variants import BASELINES, VARIANTS, changed
from tests.conftest import TINY, fake_recogniser, tiny_talker
from tests.test_training import avatar, corpus  # noqa: F401 - fixtures

SPEECH = np.random.default_rng(0).normal(size=16000).astype(np.float32) * 0.1


def variant(name):
    dims = changed(TINY, name)
    if dims.motion.bottleneck == "none":  # then a latent is the coefficients
        motion = {"basis": 6, "components": 2, "code_dim": 3, "upper_basis": 3, "upper_components": 1}
        assert all(getattr(dims.motion, key) == value for key, value in motion.items())
    return tiny_talker(motion=dims.motion, head=dims.head, predictor=dims.predictor, sampling=dims.sampling)


def stream(talker, pcm=SPEECH, seed=0, piece=1600):
    streamer = FaceStreamer(talker, seed=seed)
    parts = [streamer.feed(pcm[start : start + piece]) for start in range(0, len(pcm), piece)]
    return np.concatenate([*parts, streamer.finish()])


@pytest.mark.parametrize("name", [*VARIANTS, *BASELINES])
def test_every_variant_streams_and_is_loaded_as_it_was_saved(name, tmp_path):
    talker = variant(name)
    frames = stream(talker)
    assert np.isfinite(frames).all() and frames.std() > 0
    np.testing.assert_allclose(stream(talker, piece=700), frames, atol=1e-5)
    save_talker(tmp_path / "talker.safetensors", talker)
    again = load_talker(tmp_path / "talker.safetensors", recogniser=fake_recogniser)
    assert again.dims == talker.dims
    np.testing.assert_allclose(stream(again), frames, atol=1e-6)


def test_without_diffusion_every_seed_gives_the_same():
    np.testing.assert_array_equal(stream(variant("no-diffusion"), seed=1), stream(variant("no-diffusion"), seed=2))
    assert np.abs(stream(variant(None), seed=1) - stream(variant(None), seed=2)).max() > 0


def test_without_cross_attention_nothing_is_heard():
    other = -SPEECH[::-1].copy()
    deaf = variant("no-cross-attention")
    np.testing.assert_array_equal(stream(deaf, SPEECH), stream(deaf, other))
    assert np.abs(stream(variant(None), SPEECH) - stream(variant(None), other)).max() > 0


def test_what_each_knows_of_the_past():
    """A change of the first latent reaches the frames that may know of it, and no others."""

    def reach(name):
        talker, frames = variant(name), 30
        latents = torch.randn(1, frames, talker.dims.motion.latent)
        audio, style = torch.randn(1, frames, talker.dims.audio.width), talker.identity(0)
        far = latents.clone()
        far[:, 0] += 3
        with torch.no_grad():
            moved = talker.conditions(far, audio, style) - talker.conditions(latents, audio, style)
        return moved[0].abs().amax(1).gt(1e-7).nonzero()[:, 0].tolist()

    assert reach("no-self-attention") == [1]
    assert reach(None) == list(range(1, 14))  # two layers that look back on 7 tokens each
    assert reach("all-history") == list(range(1, 30))


def test_without_a_vqvae_motion_is_its_own_latent():
    talker = variant("no-vqvae")
    coefficients = torch.randn(1, 5, 9)
    assert torch.equal(talker.vqvae.decode_coefficients(talker.vqvae.encode_coefficients(coefficients)), coefficients)


def test_a_plain_vae_draws_only_while_it_trains():
    vae = variant("plain-vae").vqvae
    coefficients = torch.randn(1, 5, 9)
    assert torch.equal(vae.encode_coefficients(coefficients), vae.encode_coefficients(coefficients))
    vae.train()
    assert not torch.equal(vae.encode_coefficients(coefficients), vae.encode_coefficients(coefficients))
    still = vae.quantiser(torch.zeros(1, 2, 9)).codebook_loss
    assert float(still.detach()) >= 0
    with pytest.raises(ConfigError, match="no-diffusion"):
        changed(TINY, "nothing")


def test_full_sequence_diffusion_looks_at_every_frame_and_not_at_the_padding():
    talker = tiny_talker()
    network = FullSequence(talker.dims, talker.audio).eval()
    noisy, audio, style = torch.randn(1, 8, 9), torch.randn(1, 8, 16), torch.zeros(1, 8, 4)
    t = torch.tensor([[500]])
    late = noisy.clone()
    late[:, 7] += 1
    with torch.no_grad():
        before, after = network(noisy, t, audio, style), network(late, t, audio, style)
        assert (before - after).abs()[0, 0].max() > 0  # the first frame sees the last
        mask = torch.tensor([[1.0] * 7 + [0.0]])
        kept = network(noisy, t, audio, style, mask) - network(late, t, audio, style, mask)
        assert kept[0, :7].abs().max() == 0
    features = torch.from_numpy(talker.audio.features(SPEECH))[None]
    one, other = (network.draw(features, talker.style(talker.identity(0), torch.zeros(1, 30, 2)), s) for s in (0, 1))
    assert one.shape == (30, 9) and not torch.equal(one, other)


class Clock:
    """Time that passes only while stage 1 is trained."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def passing(self, train):
        def trained(*arguments):
            self.now += 1000
            return train(*arguments)

        return trained


def test_one_command_trains_all_and_prints_the_table(corpus, avatar, tmp_path, capsys, monkeypatch):  # noqa: F811
    clock = Clock()
    monkeypatch.setattr(ablate, "time", clock)
    monkeypatch.setattr(ablate, "train_vqvae", clock.passing(ablate.train_vqvae))
    out = tmp_path / "ablations"
    command = ["--data", str(corpus.path), "--avatar", str(avatar), "--out", str(out)]
    command += ["--steps", "2", "--threads", "1", "--jobs", "1", "--lengths", "1", "3"]
    assert ablate.main(command) == 0
    told = capsys.readouterr().out
    document = json.loads((out / "results.json").read_text())
    names = [row["name"] for row in document["rows"]]
    assert names == ["still face", "audio encoder alone", "ours", *VARIANTS, *BASELINES, "full-sequence"]
    assert all(f"| {name} |" in told for name in names)
    assert all(np.isfinite([row["lve"], row["fdd"], row["mod"]]).all() for row in document["rows"])
    assert clock.now == 3000 and not any(row["seconds"] for row in document["rows"])  # those are of stage 2
    assert all(latency["1"] > 0 and set(latency) == {"1", "3"} for latency in document["latency_s"].values())
    stamps = {file.name: file.stat().st_mtime_ns for file in out.glob("*.safetensors")}
    assert ablate.main(command) == 0  # everything is there already
    assert stamps == {file.name: file.stat().st_mtime_ns for file in out.glob("*.safetensors")}


def test_results_of_different_settings_never_share_a_folder(corpus, avatar, tmp_path, capsys, monkeypatch):  # noqa: F811
    """Not even where the first run was broken off before it had a result: its stage 1 may be there."""
    out = tmp_path / "ablations"
    command = ["--data", str(corpus.path), "--avatar", str(avatar), "--out", str(out), "--jobs", "1", "--threads", "1"]

    class PowerFailureError(Exception):
        pass

    def fail(*_):
        raise PowerFailureError

    monkeypatch.setattr(ablate, "train_vqvae", fail)
    with pytest.raises(PowerFailureError):
        ablate.main([*command, "--steps", "2"])
    for other, named in ((["--steps", "3"], "steps 2"), (["--steps", "2", "--frames", "7"], "frames 1000")):
        assert ablate.main([*command, *other]) == 2
        told = capsys.readouterr().err
        assert named in told and "choose another --out" in told and len(told.splitlines()) == 1
    with pytest.raises(PowerFailureError):  # more seeds are welcome
        ablate.main([*command, "--steps", "2", "--seeds", "2"])
    (out / "results.json").write_text('{"rows": []}')
    assert ablate.main([*command, "--steps", "2"]) == 2


def test_a_variant_by_one_option(corpus, avatar, tmp_path, capsys):  # noqa: F811
    command = ["all", "--data", str(corpus.path), "--avatar", str(avatar), "--out", str(tmp_path / "out")]
    assert main([*command, "--steps", "9", "--threads", "1", "--jobs", "1", "--variant", "plain-vae"]) == 0
    weights = tmp_path / "out" / "talker.safetensors"
    assert load_talker(weights).dims.motion.bottleneck == "gaussian"
    command[0], written = "talker", weights.read_bytes()
    assert main([*command, "--steps", "2", "--jobs", "1", "--variant", "no-self-attention"]) == 2
    assert weights.read_bytes() == written and "not of no-self-attention" in capsys.readouterr().err
    assert main([*command, "--steps", "2", "--jobs", "1", "--variant", "plain-vae"]) == 0


def test_what_has_no_diffusion_has_no_head_to_choose(corpus, avatar, tmp_path, capsys):  # noqa: F811
    command = ["all", "--data", str(corpus.path), "--avatar", str(avatar), "--out", str(tmp_path / "out")]
    assert main([*command, "--steps", "9", "--jobs", "1", "--variant", "no-diffusion", "--head", "linear"]) == 2
    assert "leave out --head" in capsys.readouterr().err and not (tmp_path / "out" / "vqvae.safetensors").exists()


def test_the_table_gives_means_over_seeds():
    rows = [Row("ours", seed, 10, 5.0, 3, lve, 1e-7, 1e-3) for seed, lve in enumerate((1e-6, 3e-6))]
    table = markdown(rows, {"ours": {3: 0.02, 9: 0.02}})
    assert "| ours | 2.000 ± 12.706 | 1.000 ± 0.000 | 1.000 ± 0.000 | 10 | 5 |" in table
    assert "| ours | 20 | 20 |" in table
