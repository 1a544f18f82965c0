"""The synthetic corpus: what the mouth does on the mesh, and what is written."""

import json

import numpy as np
import pytest
import soundfile

from streamingtalker.data import augment
from streamingtalker.data.augment import SPEECHLESS_VOICE
from streamingtalker.data.check import MouthGauge, read_phones, report, tally, text_report
from streamingtalker.data.clips import combine, plan
from streamingtalker.data.coarticulation import STYLES, mouth
from streamingtalker.data.dataset import Corpus, CorpusError
from streamingtalker.data.expression import expression
from streamingtalker.data.phones import BILABIALS, LABIODENTALS, SILENCE, VOWELS, Phone
from streamingtalker.data.synthetic import OtherCorpusError, make_corpus
from streamingtalker.data.visemes import LipSeal
from streamingtalker.mood import MOODS, Mood
from streamingtalker.topology import load_rig

FPS = 30.0


@pytest.fixture(scope="module")
def rig():
    return load_rig()


def random_phones(rng, count=60):
    """Speech in which closures stand beside every kind of neighbour, at every phase of the frames."""
    others = [*sorted(VOWELS), "s", "t", "n", "ng", "w", "sh", "l", "r"]
    names = [SILENCE]
    for _ in range(count):
        names += [
            str(rng.choice(others)),
            str(rng.choice(["m", "b", "p", "f", "v", "n", "s"])),
            str(rng.choice(others)),
        ]
    names.append(SILENCE)
    lengths = [0.5 if name == SILENCE else rng.uniform(0.05, 0.18) for name in names]
    edges = np.concatenate([[0], np.cumsum(lengths)])
    stress = [int(rng.integers(3)) for _ in names]
    return [Phone(n, s, e, k) for n, s, e, k in zip(names, edges, edges[1:], stress, strict=False)]


WAYS = [(style, Mood()) for style in STYLES] + [(STYLES[0], Mood(name)) for name in MOODS]


@pytest.fixture(scope="module", params=WAYS, ids=[f"{style.name}-{mood}" for style, mood in WAYS])
def performance(request, rig):
    """Phones, their frame times and the weights of the face that speaks them, in each style and in each mood."""
    style, mood = request.param
    rng = np.random.default_rng(WAYS.index(request.param))
    phones = random_phones(rng)
    frames = int(np.ceil(phones[-1].end * FPS))
    moods = np.tile(mood.vector(), (frames, 1))
    spoken = mouth(phones, frames, FPS, style, rng, LipSeal.of(rig), rig.shape_names, moods)
    lively = expression(phones, frames, FPS, style, moods, rng, rig.shape_names)
    return phones, np.arange(frames) / FPS, combine(spoken, lively, rig)


def inside(phone, times, margin=0.0):
    return (times >= phone.start - margin) & (times <= phone.end + margin)


def test_lips_meet_in_every_m_b_p(performance, rig):
    phones, times, weights = performance
    gap = MouthGauge.of(rig).gap(weights)
    closures = [gap[inside(phone, times, 0.012)].min() for phone in phones if phone.name in BILABIALS]
    assert len(closures) > 15
    assert max(closures) < 1.5e-3


def test_lower_lip_reaches_the_upper_teeth_at_f_v(performance, rig):
    phones, times, weights = performance
    vertices = rig.topology.template + rig.offsets(weights)
    upper_teeth, lower_lip = incisors(rig), lower_lip_middle(rig)
    edge = vertices[:, upper_teeth, 1].min(axis=1)
    lip = vertices[:, lower_lip]
    height = lip[..., 1].max(axis=1) - edge  # of the lower lip over the teeth's edge
    inward = lip[..., 2].min(axis=1) - (rig.topology.template[lower_lip, 2].min())
    for phone in phones:
        if phone.name in LABIODENTALS:
            here = inside(phone, times, 0.012)
            assert (np.abs(height[here]) < 1.5e-3).any()
            assert inward[here].min() < -1.0e-3


def incisors(rig):
    """Vertices of the upper front teeth: apart from the skin, above the lips' line, unmoved by the jaw."""
    still = np.abs(rig.shapes[rig.shape_names.index("jawOpen")]).max(axis=1) == 0
    x, y, z = rig.topology.template.T
    level = y[rig.topology.lip_pairs].mean()
    behind = (z < z[rig.topology.lip_pairs].min() - 2e-3) & (z > 0.080)
    found = np.flatnonzero(still & behind & (np.abs(x) < 0.012) & (y > level - 2e-3) & (y < level + 0.012))
    assert len(found) > 0
    return found


def lower_lip_middle(rig):
    jaw = rig.shapes[rig.shape_names.index("jawOpen"), :, 1]
    lips = rig.topology.lips
    return lips[(jaw[lips] < -0.02) & (np.abs(rig.topology.template[lips, 0]) < 0.012)]


def test_vowels_open_and_round_ones_narrow(performance, rig):
    phones, times, weights = performance
    gauge = MouthGauge.of(rig)
    gap, width = gauge.gap(weights), gauge.width(weights)
    rest = np.linalg.norm(gauge.corners)
    wide = [gap[inside(p, times)].max() for p in phones if p.name in ("aa", "ao", "ae", "ay", "aw") and p.seconds > 0.1]
    assert np.median(wide) > 9e-3
    narrow = [width[inside(p, times)].min() for p in phones if p.name in ("uw", "w", "ow") and p.seconds > 0.1]
    assert np.median(narrow) < 0.92 * rest


def test_only_closures_close(performance, rig):
    phones, times, weights = performance
    gap = MouthGauge.of(rig).gap(weights)
    closed = [gap[inside(p, times, -0.04)] < 1.5e-3 for p in phones if p.name in VOWELS | {"n", "ng", "t", "s"}]
    assert np.concatenate(closed).mean() < 0.02


def test_silence_is_shut_and_speech_smooth(performance, rig):
    phones, times, weights = performance
    gap = MouthGauge.of(rig).gap(weights)
    for phone in (phones[0], phones[-1]):
        assert gap[(times > phone.start + 0.15) & (times < phone.end - 0.1)].max() < 1e-3
    assert weights.min() >= 0 and weights.max() <= 1


def test_styles_differ_in_opening(rig):
    phones = random_phones(np.random.default_rng(1))
    frames = int(np.ceil(phones[-1].end * FPS))
    openings = []
    for style in STYLES:
        weights = mouth(phones, frames, FPS, style, np.random.default_rng(2), LipSeal.of(rig), rig.shape_names)
        openings.append(MouthGauge.of(rig).gap(weights).mean())
    even, lively, reserved, _ = openings
    assert lively > 1.1 * even > 1.2 * reserved


def test_recordings_keep_time_and_level():
    rng = np.random.default_rng(0)
    clap = np.zeros(32000, np.float32)
    clap[16000:16400] = np.sin(np.arange(400))
    for _ in range(20):
        recording = augment.draw_recording(rng)
        sound = augment.record(clap, 16000, recording, rng)
        assert len(sound) == pytest.approx(32000 / recording.resampling, abs=2)
        assert np.abs(sound).max() == pytest.approx(recording.peak, rel=1e-3)
        onset = np.abs(np.abs(sound).argmax() / 16000 - 1.0 / recording.resampling)
        assert onset < 0.035


def test_a_band_keeps_the_rest_out_and_clipping_cuts_peaks():
    rng = np.random.default_rng(1)
    time = np.arange(16000) / 16000
    sound = sum(np.sin(2 * np.pi * hertz * time) for hertz in (60, 1000, 6000)).astype(np.float32)
    narrow = augment.record(sound, 16000, augment.Recording(band=(300.0, 3400.0)), rng)
    levels = 20 * np.log10(np.abs(np.fft.rfft(narrow))[[60, 1000, 6000]])
    assert levels[1] - levels[0] > 20 and levels[1] - levels[2] > 20
    flat = augment.record(sound, 16000, augment.Recording(clipping=0.5), rng)
    assert np.mean(np.abs(flat) > 0.99 * np.abs(flat).max()) > 0.05


@pytest.mark.parametrize("factor", [0.75, 1.35])
def test_faster_play_raises_the_pitch_and_leaves_the_formants(factor):
    time = np.arange(2 * 24000) / 24000
    formants = {hertz: np.exp(-(((hertz - 1500) / 400) ** 2)) + 0.01 for hertz in range(100, 8000, 100)}
    voice = sum(gain * np.sin(2 * np.pi * hertz * time) for hertz, gain in formants.items()).astype(np.float32)
    sound = augment.play_faster(voice, 24000, factor)
    assert len(sound) == pytest.approx(2 * 16000 / factor, abs=2)
    spectrum = np.abs(np.fft.rfft(sound[4000:20000] * np.hanning(16000))) ** 2  # bins of 1 Hz
    autocorrelation = np.fft.irfft(spectrum)[:400]
    longest = int(1.3 * 160 / factor)  # samples; shorter than two periods
    assert 16000 / (60 + autocorrelation[60:longest].argmax()) == pytest.approx(100 * factor, rel=0.02)
    loudest = np.convolve(spectrum, np.ones(300), "same").argmax()
    assert loudest == pytest.approx(1500, rel=0.12)


@pytest.mark.parametrize("kind", augment.SPEECHLESS)
def test_sounds_without_speech(kind):
    sound = augment.speechless(kind, 3.0, np.random.default_rng(5))
    assert sound.dtype == np.float32 and len(sound) == 48000 and np.abs(sound).max() <= 1


def test_plan_is_balanced_and_new_voices_stay_out_of_training():
    clips = plan(60, seed=1)
    seconds = sum(clip.seconds for clip in clips)
    assert seconds == pytest.approx(3600, rel=0.1)
    for name in ("rms", "kal"):
        assert {clip.split for clip in clips if clip.voice == name} == {"test"}
    assert {clip.split for clip in clips if clip.voice == "ked"} == {"val"}
    assert len({clip.name for clip in clips}) == len(clips)
    trained = {clip.text for clip in clips if clip.split == "train" and clip.voice != SPEECHLESS_VOICE}
    assert not trained & {clip.text for clip in clips if clip.split != "train" and clip.voice != SPEECHLESS_VOICE}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus")
    return out, make_corpus(out, 0.4, seed=7, jobs=1, voices=("hibari", SPEECHLESS_VOICE))


def test_files_are_in_vocaset_layout(corpus, rig):
    out, manifest = corpus
    assert manifest["complete"] and manifest == json.loads((out / "corpus.json").read_text())
    templates = np.load(out / "templates.npz")
    assert set(templates) == {"hibari", SPEECHLESS_VOICE}
    assert templates["hibari"].shape == (rig.topology.vertex_count, 3)
    for clip in manifest["clips"]:
        pcm, rate = soundfile.read(out / "wav" / f"{clip['name']}.wav", dtype="int16")
        weights = np.load(out / "weights_npy" / f"{clip['name']}.npy")
        vertices = np.load(out / "vertices_npy" / f"{clip['name']}.npy", mmap_mode="r")
        assert rate == 16000 and clip["seconds"] == len(pcm) / rate
        assert weights.shape == (int(np.ceil(len(pcm) * 30 / 16000)), 52) and weights.dtype == np.float16
        assert vertices.shape == (len(weights), rig.topology.vertex_count * 3) and vertices.dtype == np.float32
        expected = rig.topology.template + rig.offsets(weights[:1])[0]
        assert np.allclose(vertices[0].reshape(-1, 3), expected, atol=1e-6)
        phones = read_phones(out / "phones" / f"{clip['name']}.json")
        assert phones[0].start == 0 and phones[-1].end == pytest.approx(len(pcm) / rate, abs=2e-3)
        assert 0 <= clip["style"] < len(manifest["styles"])


def test_the_mouth_stays_shut_without_speech(corpus, rig):
    out, manifest = corpus
    names = [clip["name"] for clip in manifest["clips"] if clip["voice"] == SPEECHLESS_VOICE]
    assert names
    for name in names:
        assert MouthGauge.of(rig).gap(np.load(out / "weights_npy" / f"{name}.npy")).max() < 1e-3


def test_jobs_and_resumption_change_nothing(corpus, tmp_path):
    out, manifest = corpus
    again = make_corpus(tmp_path, 0.4, seed=7, jobs=2, vertices=False, voices=("hibari", SPEECHLESS_VOICE))
    assert again == manifest
    redone = sorted((tmp_path / "weights_npy").glob("*.npy"))[0]
    redone.unlink()
    make_corpus(tmp_path, 0.4, seed=7, vertices=False, voices=("hibari", SPEECHLESS_VOICE))
    for folder in ("wav", "weights_npy", "phones"):
        for path in (out / folder).iterdir():
            assert path.read_bytes() == (tmp_path / folder / path.name).read_bytes()


def test_another_corpus_is_not_overwritten(corpus):
    out, _ = corpus
    with pytest.raises(OtherCorpusError, match="other settings"):
        make_corpus(out, 0.4, seed=8, voices=("hibari", SPEECHLESS_VOICE))


def test_check_sheet(corpus, rig):
    tallies = tally(corpus[0], rig)
    assert all(tallies["hibari"].bilabials_closed)
    assert "hibari" in report(tallies) and "round" in report(tallies)


def test_text_report_counts_kinds():
    texts = ["Who is it?", "One, two, three, and four apples!", "Yes. No."]
    lines = text_report([{"split": "train", "text": text} for text in texts]).splitlines()
    first_column = {line[:20].rstrip(): line.split()[-3] for line in lines}
    assert first_column["utterances"] == "3" and first_column["different words"] == "11"
    shares = [first_column[f"{kind} %"] for kind in ("question", "exclamation", "list", "number", "several sentences")]
    assert shares == ["33"] * 5


def test_a_manifest_that_may_not_be_read_is_named(tmp_path):
    (tmp_path / "corpus.json").mkdir()
    with pytest.raises(CorpusError, match=r"corpus\.json cannot be read \(.*\); check"):
        Corpus(tmp_path)
