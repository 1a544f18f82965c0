"""What each stage of training minimises.

Stage 1 is the VQ-VAE. Before stage 2 the audio encoder learns to give the motion directly (the regression baseline);
then audio encoder, predictor and head learn together, the VQ-VAE held fixed.
"""

import dataclasses

import torch
from rich.progress import Progress
from torch import Tensor, nn

from streamingtalker.audio.interface import AudioEncoder
from streamingtalker.config import AudioDims, TalkerDims
from streamingtalker.data.dataset import Batch, Example, batches
from streamingtalker.data.phones import INVENTORY
from streamingtalker.losses import MotionLoss, MotionLosses, latent_loss, phone_loss, quantisation_loss
from streamingtalker.talker import Talker
from streamingtalker.training.codebook import CodeKeeper
from streamingtalker.training.journal import StageJournal
from streamingtalker.training.loop import Budget, LoopOptions, Objective, fit
from streamingtalker.training.machines import ALONE
from streamingtalker.vqvae import Quantiser, VqVae


@dataclasses.dataclass(frozen=True)
class Weights:
    """λ of each loss term."""

    latent: float = 1.0
    vertex_l1: float = 3.0
    vertex_l2: float = 4.0
    velocity: float = 8.0
    lip_gap: float = 1.5
    quantisation: float = 1.0
    phone: float = 0.3

    def motion(self, losses: MotionLosses) -> dict[str, Tensor]:
        """The weighted terms over vertices."""
        names = ("vertex_l1", "vertex_l2", "velocity", "lip_gap")
        return {name: getattr(self, name) * getattr(losses, name) for name in names}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything about the training that is not a dimension."""

    frames: int = 1000  # in a batch
    weights: Weights = dataclasses.field(default_factory=Weights)
    continuous: float = 0.1  # share of stage 1 before anything is quantised
    posterior_dropout: float = 0.15  # of clips that hear the spectrum alone, as where there is no recogniser
    mel_gain: float = 0.2  # standard deviation of a clip's level, of 0.25 · ln
    mel_tilt: float = 0.1  # of smooth changes over the bands
    history_dropout: float = 0.3  # of clips predicted without a history
    history_noise: float = 0.4  # largest standard deviation of the noise on a clip's history, in latents' deviations
    own_history: float = 0.6  # of steps in which clips have the network's own past, at the end of the training
    repeats: int = 2  # diffusion times a clip and step
    encoder_rate: float = 0.4  # learning rate of the pretrained audio encoder, of the others'


@dataclasses.dataclass(frozen=True)
class StageRun:
    """How a stage is trained, whichever it is."""

    budget: Budget
    options: LoopOptions
    recipe: Recipe
    seed: int  # of the clips' order
    bar: Progress
    journal: StageJournal | None = None

    def fit(
        self, module: nn.Module, groups: list[dict], objective: Objective, examples: list[Example], styles: int,
        title: str,
    ) -> int:  # fmt: skip
        """``loop.fit`` on batches of ``examples``; gives the number of steps."""
        data = batches(examples, styles, self.recipe.frames, self.seed)
        return fit(module, groups, objective, data, self.budget, self.options, self.bar, title, self.journal)


OWN_ROWS = 0.6  # of a step's clips that have their own past, if any have


def train_vqvae(talker: Talker, examples: list[Example], run: StageRun) -> int:
    """Stage 1, eq. 7: L_rec + L_quant, with vertices weighted as in ``MotionLoss``."""
    vqvae = talker.vqvae
    if vqvae.dims.bottleneck == "none":
        settle_latents(talker, examples)
        return 0
    loss = MotionLoss(vqvae.basis, talker.topology).to(talker.start.device)
    recipe, quantiser, machines = run.recipe, vqvae.quantiser, run.journal.machines if run.journal else ALONE
    keeper = CodeKeeper(quantiser, machines) if isinstance(quantiser, Quantiser) else nn.Identity()

    def objective(batch: Batch, spent: float) -> dict[str, Tensor]:
        latents = vqvae.encoder(batch.coefficients)
        terms: dict[str, Tensor] = {}
        if spent >= recipe.continuous:
            if isinstance(keeper, CodeKeeper):
                keeper.observe(keeper.quantiser.split(latents.detach()[batch.mask > 0].float()), spent)
            quantised = vqvae.quantiser(latents.float(), batch.mask)
            terms["quantisation"] = recipe.weights.quantisation * quantisation_loss(quantised)
            latents = quantised.latents
        losses = loss(vqvae.decoder(latents), batch.coefficients, batch.mask)
        return recipe.weights.motion(losses) | terms

    both = nn.ModuleDict({"vqvae": vqvae, "keeper": keeper})
    steps = run.fit(both, [_group(vqvae)], objective, examples, talker.dims.styles, "stage 1: VQ-VAE")
    settle_latents(talker, examples)
    return steps


def settle_latents(talker: Talker, examples: list[Example]) -> None:
    """After stage 1: the latents' mean and scale, and the latent of a face at rest."""
    normalise_latents(talker.vqvae, examples)
    talker.start.copy_(talker.vqvae.still())


@torch.no_grad()
def normalise_latents(vqvae: VqVae, examples: list[Example]) -> None:
    """Set the latents' mean and scale from the quantised latents of ``examples``."""
    vqvae.latent_mean.zero_()
    vqvae.latent_scale.fill_(1)
    latents = torch.cat([_encode(vqvae, example) for example in examples])
    vqvae.latent_mean.copy_(latents.mean(0))
    vqvae.latent_scale.copy_(latents.std(0).clamp_min(1e-4))


@torch.no_grad()
def with_latents(vqvae: VqVae, examples: list[Example]) -> list[Example]:
    """The examples with their quantised latents z_q."""
    return [dataclasses.replace(example, latents=_encode(vqvae, example).cpu()) for example in examples]


def _encode(vqvae: VqVae, example: Example) -> Tensor:
    return vqvae.encode_coefficients(example.coefficients[None].to(vqvae.latent_mean))[0]


class Regression(nn.Module):
    """Audio and style straight to motion, frame by frame: what the encoder learns first, and the baseline."""

    def __init__(self, dims: TalkerDims, audio: AudioEncoder) -> None:
        super().__init__()
        width = dims.audio.width
        self.audio = audio
        self.style = nn.Linear(dims.style_width, width, bias=False)
        self.motion = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU())
        self.out = nn.Linear(2 * width, dims.motion.coefficients)
        self.phones = nn.Linear(width, len(INVENTORY))

    def forward(self, features: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, …] and style [B, T or 1, styles + moods] → coefficients [B, T, K], phone logits [B, T, P]."""
        heard = self.audio(features)
        return self.out(self.motion(heard + self.style(style))), self.phones(heard)


def train_regression(talker: Talker, examples: list[Example], run: StageRun) -> tuple[Regression, int]:
    """Pretrain the talker's audio encoder in place; gives the baseline that holds it, and the steps it took."""
    regression = Regression(talker.dims, talker.audio).to(talker.start.device)
    loss, recipe = MotionLoss(talker.vqvae.basis, talker.topology).to(talker.start.device), run.recipe

    def objective(batch: Batch, _: float) -> dict[str, Tensor]:
        features = disturb(batch.features, talker.dims.audio, recipe)
        motion, phones = regression(features, batch.style)
        losses = recipe.weights.motion(loss(motion.float(), batch.coefficients, batch.mask))
        return losses | {"phone": recipe.weights.phone * phone_loss(phones, batch.phones, batch.mask)}

    steps = run.fit(regression, [_group(regression)], objective, examples, talker.dims.styles, "audio encoder")
    return regression, steps


def train_talker(talker: Talker, phones: nn.Linear, examples: list[Example], run: StageRun) -> int:
    """Stage 2, eq. 13: L_latent + L_vert + L_vel, with the auxiliary terms. ``phones`` reads the encoder's phones."""
    talker.vqvae.requires_grad_(False)
    loss, recipe = MotionLoss(talker.vqvae.basis, talker.topology).to(talker.start.device), run.recipe
    mouth = talker.dims.motion.basis  # brows and lids are compared in the latent space alone: they may vary
    joint = nn.ModuleDict({"audio": talker.audio, "rest": talker.predictor, "head": talker.head, "phones": phones})

    def objective(batch: Batch, spent: float) -> dict[str, Tensor]:
        audio = talker.audio(disturb(batch.features, talker.dims.audio, recipe))
        conditions = _conditions(talker, batch, audio, recipe, spent)
        repeated = conditions.repeat(recipe.repeats, 1, 1).float()
        true, mask = batch.latents.repeat(recipe.repeats, 1, 1), batch.mask.repeat(recipe.repeats, 1)
        guess = talker.head(true, repeated)
        truth = batch.coefficients.repeat(recipe.repeats, 1, 1)
        motion = talker.vqvae.decode_coefficients(guess)[..., :mouth]
        losses = loss(torch.cat([motion.float(), truth[..., mouth:]], dim=-1), truth, mask)
        latent = latent_loss(guess, true, mask, talker.dims.motion.upper_latent)
        terms = {"latent": recipe.weights.latent * latent} | recipe.weights.motion(losses)
        return terms | {"phone": recipe.weights.phone * phone_loss(phones(audio), batch.phones, batch.mask)}

    examples = with_latents(talker.vqvae, examples)
    groups = [_group(talker.audio, recipe.encoder_rate), _group(talker.predictor), _group(talker.head), _group(phones)]
    steps = run.fit(joint, groups, objective, examples, talker.dims.styles, "stage 2: predictor and head")
    talker.vqvae.requires_grad_(True)
    return steps


def _conditions(talker: Talker, batch: Batch, audio: Tensor, recipe: Recipe, spent: float) -> Tensor:
    """Conditions from a past that is not to be trusted: noisy, at times the network's own, at times missing."""
    rows, frames = batch.mask.shape
    noise = torch.rand(rows, 1, 1, device=audio.device) * recipe.history_noise
    history = batch.latents + noise * torch.randn_like(batch.latents)
    own = torch.rand(rows, device=audio.device) < OWN_ROWS
    if own.any() and torch.rand(()) < recipe.own_history * spent:
        history[own] = own_past(talker, audio[own].detach(), batch.style[own], batch.latents[own])
    keep = (torch.rand(rows, 1, device=audio.device) >= recipe.history_dropout).expand(rows, frames)
    return talker.conditions(history, audio, batch.style, keep)


@torch.no_grad()
def own_past(talker: Talker, audio: Tensor, style: Tensor, true: Tensor) -> Tensor:
    """The latents [B, T, H·C] that the network draws for itself, frame after frame, as it will when it is used;
    but each frame's noise is new, where a stream's is correlated with that of the frame before.

    audio [B, T, A], style [B, T, S]. Brows and lids are those of ``true`` [B, T, H·C]: the voice does not decide them,
    so that no truth follows from others.
    """
    sampling, predictor, upper = talker.dims.sampling, talker.predictor, talker.dims.motion.upper_latent
    rows, frames, width = true.shape
    weights, temperature, sampler = talker.mixing(sampling), talker.temperature(sampling), talker.head.sampler(sampling)
    heard, cache = predictor.hear(audio), predictor.state(rows)
    keep = torch.ones(rows, 1, dtype=torch.bool, device=true.device)
    unknown = talker.conditions(true, audio, style, ~keep.expand(rows, frames))
    latent, drawn = talker.start.expand(rows, 1, width), []
    for k in range(frames):
        now = slice(k, k + 1)
        known = predictor(latent, [layer[:, now] for layer in heard], style[:, now], keep, cache)
        conditions = torch.stack([known, unknown[:, now]][: len(weights)])
        latent = sampler(temperature * torch.randn_like(latent), conditions, weights).float()
        latent = torch.cat([latent[..., : width - upper], true[:, now, width - upper :]], dim=2)
        drawn.append(latent)
    return torch.cat(drawn, dim=1)


def disturb(features: Tensor, dims: AudioDims, recipe: Recipe) -> Tensor:
    """Speech features [B, n, bands + classes] as of another microphone; some clips lose their posteriors."""
    if dims.kind != "speech":
        return features
    mel, posteriors = features.split([dims.mel_bands, dims.posterior_classes], dim=2)
    gain = recipe.mel_gain * torch.randn(len(mel), 1, 1, device=mel.device)
    bumps = torch.randn(len(mel), 1, 6, device=mel.device)
    bumps = nn.functional.interpolate(bumps, size=dims.mel_bands, mode="linear", align_corners=True)
    heard = torch.rand(len(mel), 1, 1, device=mel.device) >= recipe.posterior_dropout
    return torch.cat([mel + gain + recipe.mel_tilt * bumps, posteriors * heard], dim=2)


def _group(module: nn.Module, scale: float = 1.0) -> dict:
    return {"params": list(module.parameters()), "scale": scale}
