"""The published network learns one sequence by heart: both stages, then drawn from noise and sound alone."""

import dataclasses

import torch

from streamingtalker import metrics
from streamingtalker.released import ReleasedTalker
from streamingtalker.training.codebook import CodeKeeper
from streamingtalker.training.loop import Budget, LoopOptions, fit, progress_bar
from streamingtalker.training.published import DRAWN, PRESETS, StageOne, StageTwo, choose_learning, hear
from streamingtalker.training.takes import Take, TakeBatch
from tests.conftest import tiny_face
from tests.test_released import DIMS

FRAMES = 24
STEPS = 800


def sequence() -> Take:
    """Six shapes of the face in waves of six frequencies, 4 s⁻¹ at most, from rest; and a sound of noise."""
    random = torch.Generator().manual_seed(1)
    shapes = torch.randn(6, 36, generator=random) * 0.01
    seconds = torch.arange(FRAMES)[:, None] / 30
    waves = torch.sin(2 * torch.pi * (torch.linspace(0.5, 4, 6) * seconds + torch.rand(6, generator=random)))
    return Take(((seconds * 4).clamp(max=1) * waves) @ shapes, torch.randn(FRAMES * 534, generator=random) * 0.1, 0)


def learn(talker: ReleasedTalker, stage: str, objective, module, batch: TakeBatch) -> None:
    options = LoopOptions(rate=2e-3, average=0.0, betas=(0.9, 0.999))
    groups = choose_learning(talker, stage, PRESETS["vocaset"])
    fit(module, groups, objective, [batch] * STEPS, Budget(STEPS), options, progress_bar(shown=False), stage)


def test_one_sequence_is_learnt_by_heart():
    """To less than 1 % of a still face's LVE."""
    torch.manual_seed(0)
    motion = dataclasses.replace(DIMS.motion, width=32, feedforward=64, components=4, code_dim=8, codes=96)
    predictor = dataclasses.replace(DIMS.predictor, width=48, feedforward=96, period=30, history=60)
    dims = dataclasses.replace(DIMS, motion=motion, predictor=predictor, sampling=DRAWN)
    talker, take = ReleasedTalker(dims, tiny_face()), sequence()
    batch = TakeBatch.of([take], dims.styles)
    keeper = CodeKeeper(talker.vqvae.quantiser)
    both = torch.nn.ModuleDict({"vqvae": talker.vqvae, "keeper": keeper})
    learn(talker, "vqvae", StageOne(talker, keeper=keeper), both, batch)
    talker.start.copy_(talker.vqvae.still().detach())
    talker.requires_grad_(True)
    learn(talker, "talker", StageTwo(talker, 60), talker, batch)
    talker.eval()
    noise = torch.randn(FRAMES * (FRAMES + 1) // 2 * motion.latent, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        heard = hear(talker, batch)
        latents = talker.sample_fixed(talker.start[None, None], heard, batch.identity, 60, noise, DRAWN.rule)
        drawn = talker.vqvae.decode(latents)[0].unflatten(1, (-1, 3)).numpy()
    true, lips = take.offsets.unflatten(1, (-1, 3)).numpy(), talker.topology.lips
    still = metrics.lip_vertex_error(0 * true, true, lips)
    share = metrics.lip_vertex_error(drawn, true, lips) / still
    print(f"LVE {100 * share:.2f} % of a still face's")
    assert share < 0.01
