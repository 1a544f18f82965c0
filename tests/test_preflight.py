"""What is refused before anything is loaded, and that nothing is left behind by looking."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from demo.preflight import avatar_file, check
from demo.settings import Settings
from demo.surroundings import bundled_questions
from streamingtalker.errors import UserError
from streamingtalker.tensor_file import write_tensors
from streamingtalker.topology import DEFAULT_AVATAR


@pytest.fixture
def settings(tmp_path) -> Settings:
    """Settings that pass."""
    weights = tmp_path / "weights.safetensors"
    write_tensors(weights, {"x": np.zeros(3, np.float32)}, "talker", {})
    return Settings(talker=weights)


def test_what_is_fine_passes_and_leaves_nothing_but_folders(settings, tmp_path):
    film = tmp_path / "new" / "film.mp4"
    check(replace(settings, question=bundled_questions(), record=film, say="Hello.", text=("Hi?",)))
    assert film.parent.is_dir() and not film.exists()


def test_a_film_that_is_there_is_not_touched(settings, tmp_path):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"old")
    check(replace(settings, record=film))
    assert film.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"question": (Path("gone.wav"),)}, r"gone\.wav does not exist"),
        ({"speech": Path("gone.wav")}, r"gone\.wav does not exist"),
        ({"say": "🎉"}, "--say holds nothing that can be spoken"),
        ({"text": ("Hi?", " ")}, "--text holds an empty question"),
        ({"record": Path("/")}, "--record / cannot be written"),
        ({"trace": Path(__file__) / "x.json"}, "--trace .* cannot be written"),
        ({"avatar": "nobody"}, "There is no avatar 'nobody', only .*maya"),
        ({"say": "[happy]"}, "--say holds nothing that can be spoken"),
        ({"persona": Path("gone.toml")}, r"gone\.toml cannot be read"),
        ({"talker": Path("gone.safetensors")}, r"gone\.safetensors does not exist"),
        ({"server": "127.0.0.1:8765"}, "give an address like ws://"),
        ({"server": "ws://x:1", "tls_cert": Path("x.pem")}, "--tls-cert and --tls-key go with --serve"),
        ({"server": "ws://x:1", "token_file": Path("gone")}, "gone cannot be read"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_mistake_is_one_sentence(settings, changes, said):
    with pytest.raises(UserError, match=said):
        check(replace(settings, **changes))


def test_a_silent_question_is_refused_and_a_silent_performance_is_not(settings, tmp_path):
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(16_000, np.float32), 16_000)
    check(replace(settings, speech=path))
    with pytest.raises(UserError, match="only silence"):
        check(replace(settings, question=(path,)))


def test_the_weights_do_not_matter_where_another_machine_has_them():
    check(Settings(talker=Path("gone.safetensors"), server="ws://127.0.0.1:1"))


def test_the_face_is_the_one_asked_for_or_the_persona_s_or_the_usual_one(settings, tmp_path):
    persona = tmp_path / "p.toml"
    persona.write_text('name = "N"\ngreeting = "Hi."\nmanner = "M."\navatar = "nobody"\n')
    assert avatar_file(settings) == DEFAULT_AVATAR
    with pytest.raises(UserError, match="no avatar 'nobody'"):
        check(replace(settings, persona=persona))
    assert avatar_file(replace(settings, persona=persona, avatar="maya")) == DEFAULT_AVATAR
    with pytest.raises(UserError):
        avatar_file(replace(settings, avatar="../avatars/maya"))
