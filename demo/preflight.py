"""What can be found wrong before anything is loaded: files that do not serve, places where nothing can be written."""

from pathlib import Path

from demo.admission import credentials
from demo.bare import GLTF
from demo.export.live import check_place
from demo.gltf_head import load_gltf_head
from demo.microphone import read_recording
from demo.moods import without_tags
from demo.openings import load_speech
from demo.persona import load_persona
from demo.settings import Settings, SettingsError
from demo.speech_text import speakable
from demo.surroundings import has_script
from streamingtalker.places import make_place
from streamingtalker.tensor_file import read_tensors, talker_file
from streamingtalker.topology import DEFAULT_AVATAR, avatar_path


def check(settings: Settings) -> None:
    """Raise UserError for the first thing in ``settings`` with which a session would fail later."""
    _check_script(settings)
    for option, path in (("--record", settings.record), ("--trace", settings.trace)):
        if path is not None:
            make_place(path, option)
    if settings.export is not None:
        check_place(settings.export)
    if settings.keep_transcripts is not None:
        make_place(settings.keep_transcripts, "--keep-transcripts")
    if settings.kiosk:
        _check_stand(settings)
    _check_avatar(avatar_file(settings))
    if settings.server is None:
        read_tensors(talker_file(settings.talker), kind="talker")
    elif not settings.server.startswith(("ws://", "wss://")):
        raise SettingsError(f"--server is {settings.server!r}; give an address like ws://HOST:8765.")
    _check_door(settings)


def avatar_file(settings: Settings) -> Path:
    """The file of the face to show: the one asked for, or else the persona's, or else the usual one.

    Raises PersonaError, or AvatarError naming the avatars there are.
    """
    name = settings.avatar or load_persona(settings.persona).avatar
    if name is not None and Path(name).suffix.lower() in GLTF:
        return Path(name)
    return DEFAULT_AVATAR if name is None else avatar_path(name)


def _check_door(settings: Settings) -> None:
    """Whether there is something to show to the server."""
    secure = settings.server is not None and settings.server.startswith("wss://")
    if (settings.tls_cert or settings.tls_key) and not secure:
        raise SettingsError(
            "--tls-cert and --tls-key go with --serve, or --tls-cert with --server wss://…; leave them out."
        )
    credentials(settings)


def _check_stand(settings: Settings) -> None:
    """Nothing of what visitors say is kept but where that was asked for."""
    kept = "--record" if settings.record else "--export" if settings.export else None
    if kept and settings.keep_transcripts is None:
        raise SettingsError(f"{kept} would keep what visitors say; leave it out or give --keep-transcripts, too.")
    if has_script(settings):
        raise SettingsError("--kiosk listens to visitors; leave out --question, --text, --say and --speech.")


def _check_avatar(path: Path) -> None:
    if path.suffix.lower() in GLTF:
        load_gltf_head(path)


def _check_script(settings: Settings) -> None:
    """What the user is to say, where that is written down, can be said and heard."""
    for path in settings.question:
        read_recording(path)
    if settings.speech is not None:
        load_speech(settings.speech)
    if settings.say is not None and not speakable(without_tags(settings.say)[0], settings.lang):
        raise SettingsError("--say holds nothing that can be spoken; give it words.")
    if not all(question.strip() for question in settings.text):
        raise SettingsError("--text holds an empty question; give it words.")
