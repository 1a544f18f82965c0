"""A training that was broken off goes on as if it had not been; several processes; what a training leaves."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from streamingtalker.data.dataset import Example, batches
from streamingtalker.tensor_file import CheckpointError, read_tensors
from streamingtalker.training.codebook import CodeKeeper
from streamingtalker.training.journal import Habits, StageJournal, last_file, open_curves
from streamingtalker.training.loop import Budget, LoopOptions, Stopwatch, fit, progress_bar
from streamingtalker.training.machines import MachineError, Together, open_machines
from streamingtalker.training.stages import Recipe, StageRun, train_talker, train_vqvae, with_latents
from tests.conftest import tiny_talker


class PowerFailureError(Exception):
    """The power has gone."""


class FailingBar:
    """A progress bar during whose n-th update the power goes."""

    def __init__(self, after: int) -> None:
        self._left = after

    def add_task(self, *_: object, **__: object) -> int:
        return 0

    def update(self, *_: object, **__: object) -> None:
        self._left -= 1
        if self._left < 0:
            raise PowerFailureError


def example(frames: int, index: int) -> Example:
    """A clip of random motion and sound for the tiny talker."""
    from streamingtalker.data.dataset import Clip

    random = torch.Generator().manual_seed(index)
    dims = tiny_talker().dims
    columns = 3 * (frames + dims.audio.lookahead)
    features = torch.randn(columns, dims.audio.mel_bands + dims.audio.posterior_classes, generator=random)
    return Example(
        clip=Clip(f"clip{index}", "nobody", index % 2, "train", frames / 30),
        coefficients=torch.randn(frames, 9, generator=random).cumsum(0) * 0.2,
        features=features.half().numpy(),
        phones=torch.full((frames,), 3),
        intervals=(),
        moods=torch.zeros(frames, 2),
    )


EXAMPLES = [example(12 + index, index) for index in range(5)]
OPTIONS = LoopOptions(warm_up=0.2)
RECIPE = Recipe(frames=30, continuous=0.2)


def stage_one(journal, bar):
    talker = tiny_talker()
    torch.manual_seed(3)
    train_vqvae(talker, EXAMPLES, StageRun(Budget(steps=6), OPTIONS, RECIPE, 0, bar, journal))
    return talker


def stage_two(journal, bar):
    talker = tiny_talker()
    phones = nn.Linear(talker.dims.audio.width, 40)
    torch.manual_seed(3)
    clips = with_latents(talker.vqvae, EXAMPLES)
    train_talker(talker, phones, clips, StageRun(Budget(steps=6), OPTIONS, RECIPE, 0, bar, journal))
    return talker


@pytest.mark.parametrize("stage", [stage_one, stage_two])
def test_six_steps_at_once_are_three_and_three_more(stage, tmp_path):
    """Network, averages, codebook usage, random numbers, order of the clips: everything goes on."""
    with progress_bar(shown=False) as bar:
        whole = stage(StageJournal("stage", tmp_path / "whole"), bar)
        habits = Habits(save_every=3)
        with contextlib.suppress(PowerFailureError):
            stage(StageJournal("stage", tmp_path / "parts", habits=habits), FailingBar(after=4))
        halfway, metadata = read_tensors(last_file(tmp_path / "parts"), kind="training")
        assert metadata["progress"]["steps"] == 3
        torch.manual_seed(99)
        parts = stage(StageJournal("stage", tmp_path / "parts", resume=True), bar)
    one, other = whole.state_dict(), parts.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    (ended, told), (again, told_again) = (
        read_tensors(last_file(tmp_path / name), kind="training") for name in ("whole", "parts")
    )
    assert all(np.array_equal(ended[name], again[name]) for name in ended)
    assert told["progress"]["smooth"] == told_again["progress"]["smooth"]  # the losses, to the last bit
    assert any(not np.array_equal(ended[name], halfway[name]) for name in ended if name.startswith("module/"))


def test_another_trainings_state_is_refused(tmp_path):
    with progress_bar(shown=False) as bar:
        stage_one(StageJournal("stage", tmp_path), bar)
        with pytest.raises(CheckpointError, match="leave out --resume"):
            stage_two(StageJournal("stage", tmp_path, resume=True), bar)
        last_file(tmp_path).write_bytes(b"cut off")
        with pytest.raises(CheckpointError, match=r"last\.safetensors is damaged"):
            stage_one(StageJournal("stage", tmp_path, resume=True), bar)


class Looks:
    """An examiner that remembers what it saw."""

    def __init__(self, scores) -> None:
        self.scores = iter(scores)
        self.saved: list[Path] = []
        self.shown: list[Path] = []

    def examine(self):
        torch.rand(5)  # may draw: the training must not notice
        return {"lve": next(self.scores)}

    def save(self, path):
        self.saved.append(path)

    def show(self, path):
        self.shown.append(path)


def test_the_best_weights_are_kept_and_looking_changes_nothing(tmp_path):
    looks = Looks([3.0, 1.0, 2.0])
    with progress_bar(shown=False) as bar:
        seen = stage_two(StageJournal("talker", tmp_path / "a", habits=Habits(checks=3), examiner=looks), bar)
        unseen = stage_two(StageJournal(), bar)
    assert len(looks.saved) == 2 and looks.saved[0].name == "talker-best.safetensors"
    assert [path.name for path in looks.shown] == [f"talker-{step:06d}.npz" for step in (3, 5, 6)]
    assert read_tensors(last_file(tmp_path / "a"), kind="training")[1]["progress"]["best"] == 1.0
    one, other = seen.state_dict(), unseen.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


class Unlucky(Looks):
    """An examiner during whose first writing the power goes."""

    def save(self, path):
        super().save(path)
        raise PowerFailureError


def looked_at(folder, examiner, bar, resume=False):
    """Ten steps, examined after the sixth and the last; ``last`` is due after five."""
    habits = Habits(save_every=5, checks=2)
    journal = StageJournal("x", folder, habits=habits, examiner=examiner, resume=resume)
    with contextlib.suppress(PowerFailureError):
        fit(*tiny_problem(), Budget(steps=10), OPTIONS, bar, "x", journal)
    return examiner


@pytest.mark.parametrize("resumed_scores", [[2.0], [0.5]])
def test_a_resumed_training_remembers_what_was_best(tmp_path, resumed_scores):
    """Broken off after an examination and before ``last`` was due."""
    before = looked_at(tmp_path, Looks([1.0]), FailingBar(after=7))
    with progress_bar(shown=False) as bar:
        after = looked_at(tmp_path, Looks(resumed_scores), bar, resume=True)
    assert len(before.saved) == 1 and [path.name for path in after.shown] == ["x-000010.npz"]
    assert len(after.saved) == (resumed_scores[0] < 1.0)
    assert read_tensors(last_file(tmp_path), kind="training")[1]["progress"]["best"] == min(1.0, *resumed_scores)


def test_an_examination_that_was_broken_off_is_made_again(tmp_path):
    with progress_bar(shown=False) as bar:
        looked_at(tmp_path, Unlucky([1.0]), bar)
        after = looked_at(tmp_path, Looks([1.0, 2.0]), bar, resume=True)
        again = looked_at(tmp_path, Looks([]), bar, resume=True)
    assert len(after.saved) == 1 and [path.name for path in after.shown] == ["x-000006.npz", "x-000010.npz"]
    assert not again.shown  # all of it was looked at


def test_curves_are_written_or_it_is_said_that_they_are_not(tmp_path, monkeypatch):
    told: list[str] = []
    pytest.importorskip("tensorboard")
    curves = open_curves(tmp_path, told.append)
    with progress_bar(shown=False) as bar:
        fit(*tiny_problem(), Budget(steps=20), OPTIONS, bar, "x", StageJournal("x", None, curves=curves))
    curves.close()
    assert list(tmp_path.glob("events.*")) and not told
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert open_curves(tmp_path, told.append) is None and "pip install tensorboard" in told[0]


def tiny_problem():
    """A module, its group, an objective and batches."""
    module = nn.Linear(9, 9)

    def objective(batch, _):
        return {"all": (module(batch.coefficients) - batch.coefficients).square().mean()}

    return module, [{"params": list(module.parameters())}], objective, batches(EXAMPLES, 2, 30, 0)


def test_processes_take_turns_with_the_batches():
    def lengths(source, count):
        return [next(source).mask.sum(1).tolist() for _ in range(count)]

    everything = lengths(batches(EXAMPLES, 2, 30, 0), 8)
    for rank in (0, 1):
        mine = batches(EXAMPLES, 2, 30, 0)
        mine.begin(1, rank, 2)
        assert lengths(mine, 3) == everything[2 + rank :: 2]


def test_a_stopwatch_does_not_count_what_it_is_stopped_for():
    watch = Stopwatch(5.0)
    with watch.stopped():
        before = watch.read()
        sum(range(10**5))
    assert 5.0 <= watch.read() < before + 0.5


def test_one_process_behind_accelerate_trains_the_same(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    results = []
    for machines in (Together(accelerate.Accelerator(cpu=True)), None):
        torch.manual_seed(0)
        problem = tiny_problem()
        with progress_bar(shown=False) as bar:
            extra = {"machines": machines} if machines else {}
            fit(*problem, Budget(steps=5), OPTIONS, bar, "x", StageJournal("x", tmp_path, **extra))
        results.append(problem[0].weight.detach())
    torch.testing.assert_close(*results)


def test_the_codebook_keeper_is_kept_with_the_training():
    keeper = CodeKeeper(tiny_talker().vqvae.quantiser)
    assert set(keeper.state_dict()) == {"usage", "begun"} and not list(keeper.parameters())


def test_no_graphics_card_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MachineError, match="--device cpu"):
        open_machines("cuda")


PAIR = """
import sys, torch
sys.path.insert(0, {root!r})
from streamingtalker.training.machines import open_machines
from streamingtalker.training.journal import StageJournal
from streamingtalker.training.loop import Budget, progress_bar
from tests.test_resume import stage_one
machines, device = open_machines("cpu")
assert machines.count == 2 and machines.rank in (0, 1)
with progress_bar(shown=False) as bar:
    talker = stage_one(StageJournal("stage", __import__("pathlib").Path({out!r}), machines), bar)
flat = torch.cat([p.detach().flatten() for p in talker.vqvae.parameters()])
both = machines.gather(flat)
assert torch.equal(both[0], both[1]), (both[0] - both[1]).abs().max()
print("equal", machines.rank)
"""


@pytest.mark.processes
def test_two_processes_end_with_the_same_network(tmp_path):
    pytest.importorskip("accelerate")
    root = str(Path(__file__).resolve().parent.parent)
    script = tmp_path / "pair.py"
    script.write_text(PAIR.format(root=root, out=str(tmp_path / "out")))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=150, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count("equal") == 2
    assert len(read_tensors(last_file(tmp_path / "out"), kind="training")[0]["random"]) == 2
