"""Every setting of the demo with its default, in one place: the command line and the TOML file are made from it."""

import argparse
import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from demo.controls import help_text
from streamingtalker.errors import UserError
from streamingtalker.mood import Mood, MoodError

ASSETS = Path(__file__).resolve().parent.parent / "assets"


class SettingsError(UserError):
    """A setting that does not exist or has an impossible value."""


def _option(
    default: Any,  # noqa: ANN401
    help: str,
    group: str,
    choices: tuple[str, ...] = (),
    metavar: str = "",
    within: tuple[float, float] | None = None,
) -> Any:  # noqa: ANN401 - a field of whatever type
    metadata = {"help": help, "group": group, "choices": choices, "metavar": metavar, "within": within}
    if isinstance(default, list | tuple):
        return field(default_factory=lambda: tuple(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """What ``run_demo.py`` can be told. Field ``llm_model`` is ``--llm-model`` and ``llm_model = …`` in TOML."""

    # What to do
    question: tuple[Path, ...] = _option(
        (), "recordings used as the microphone, one after another", "what to do", metavar="WAV"
    )
    text: tuple[str, ...] = _option((), "typed questions, one after another", "what to do", metavar="QUESTION")
    say: str | None = _option(None, "speak this text and stop", "what to do", metavar="TEXT")
    speech: Path | None = _option(None, "perform this recording and stop", "what to do", metavar="WAV")
    record: Path | None = _option(None, "film what is seen and heard", "what to do", metavar="OUT.mp4")
    export: Path | None = _option(
        None,
        "write motion, ARKit weights, glTF head and sound of every turn into this folder",
        "what to do",
        metavar="DIR",
    )
    trace: Path | None = _option(None, "write latencies and synchrony of every turn", "what to do", metavar="OUT.json")
    log: Path | None = _option(
        None,
        "keep a log in this file, as lines of JSON without what anybody said; it is renewed when it is full",
        "what to do",
        metavar="FILE",
    )
    seed: int = _option(
        0, "seed of the face's variation and of the language model", "what to do", within=(0, 2**31 - 1)
    )

    # Window and sound
    headless: bool = _option(
        False, "no window, no sound card: draw off-screen, play to a simulated speaker", "window and sound"
    )
    fullscreen: bool = _option(False, "fill the screen", "window and sound")
    size: int = _option(640, "height of the picture in pixels", "window and sound", metavar="PIXELS", within=(64, 4096))
    avatar: str | None = _option(
        None,
        "the face to show (default: the persona's, or maya), or a .glb file of a head with ARKit's morph targets",
        "window and sound",
        metavar="NAME",
    )
    input_device: str | None = _option(
        None, "microphone: a name or number from --list-devices", "window and sound", metavar="DEVICE"
    )
    output_device: str | None = _option(
        None, "loudspeaker: a name or number from --list-devices", "window and sound", metavar="DEVICE"
    )
    av_offset_ms: float = _option(
        0.0,
        "show the face this much later (+) or earlier (-) than measured",
        "window and sound",
        metavar="MS",
        within=(-1000, 1000),
    )

    # Conversation
    persona: Path = _option(ASSETS / "personas" / "host.toml", "who the avatar is", "conversation", metavar="FILE.toml")
    mood: Mood | None = _option(
        None,
        "say everything in this mood: neutral, happy, serious, sad or surprised, with an intensity as in happy:0.6 "
        "(default: what the answers tell)",
        "conversation",
        metavar="MOOD",
    )
    lang: str = _option(
        "en",
        "language spoken and heard, as in en, de, es, fr, ko, zh: any that both Vosk and gTTS know",
        "conversation",
        metavar="LANG",
    )
    filter: bool | None = _option(
        None, "neither answer, say nor show what is indecent (default: only with --kiosk)", "conversation"
    )
    stt: str = _option("auto", "speech recognition", "conversation", choices=("auto", "vosk", "whisper"))
    tts: str = _option(
        "auto",
        "voice: hibari (offline, English) or gtts (any language, needs the internet); auto takes the persona's, or "
        "else the one that speaks the language",
        "conversation",
        choices=("auto", "hibari", "gtts"),
    )
    llm_model: str | None = _option(
        None,
        "model of the OpenAI-compatible service, or a .gguf file to run on this machine",
        "conversation",
        metavar="MODEL",
    )
    half_duplex: bool = _option(
        False, "do not listen while the avatar speaks: for rooms in which it hears itself all the same", "conversation"
    )
    patience: float = _option(
        1.0,
        "how long to wait in a silence before answering: above 1 for slow speakers, below for quick ones",
        "conversation",
        metavar="FACTOR",
        within=(0.5, 4),
    )

    # Exhibition
    kiosk: bool = _option(
        False,
        "run a stand by itself: fill the screen, invite passers-by, forget every visitor, keep nothing (docs/kiosk.md)",
        "exhibition",
    )
    quiet_seconds: float = _option(
        60.0,
        "with --kiosk: so long without a word, and the conversation ends and is forgotten",
        "exhibition",
        metavar="SECONDS",
        within=(5, 3600),
    )
    invite_seconds: float = _option(
        90.0,
        "with --kiosk: speak to passers-by, when nobody talks, at most this often; 0 is never",
        "exhibition",
        metavar="SECONDS",
        within=(0, 86_400),
    )
    longest_question: float = _option(
        20.0,
        "with --kiosk: a visitor who speaks longer is answered to what was said so far",
        "exhibition",
        metavar="SECONDS",
        within=(3, 30),
    )
    longest_reply: float = _option(
        25.0,
        "with --kiosk: an answer ends with the sentence that is about so late",
        "exhibition",
        metavar="SECONDS",
        within=(3, 300),
    )
    turns_a_minute: int = _option(
        10,
        "with --kiosk: after so many questions within a minute it takes a rest until the minute is over",
        "exhibition",
        metavar="N",
        within=(1, 60),
    )
    keep_transcripts: Path | None = _option(
        None,
        "append what is asked and answered to this file, a line of JSON for every turn; nothing else keeps it",
        "exhibition",
        metavar="FILE.jsonl",
    )

    # Model and machine
    talker: Path = _option(
        ASSETS / "weights" / "default.safetensors",
        "weights of the face model",
        "model and machine",
        metavar="FILE",
    )
    device: str = _option(
        "auto", "where the face model runs", "model and machine", choices=("auto", "cpu", "cuda", "mps")
    )
    threads: int = _option(
        1,
        "processor threads of the face model and of the embedded language model, which reads with two at least",
        "model and machine",
        within=(1, 256),
    )

    # Server
    serve: bool = _option(False, "run only the server, for clients on other machines", "server")
    server: str | None = _option(
        None, "use the server running there instead of starting one", "server", metavar="ws[s]://HOST:PORT"
    )
    host: str = _option(
        "127.0.0.1", "address the server listens on; another one than this machine's own needs a token", "server"
    )
    token_file: Path | None = _option(
        None,
        "the token that clients show to the server, in a file that only its owner can read; or in the environment, as "
        "STREAMINGTALKER_TOKEN",
        "server",
        metavar="FILE",
    )
    tls_cert: Path | None = _option(
        None,
        "with --serve: the server's certificate, and it speaks TLS; with --server wss://…: the certificate it is to "
        "have, where no public authority has signed it",
        "server",
        metavar="FILE.pem",
    )
    tls_key: Path | None = _option(
        None, "with --serve: the key of --tls-cert, if not in the same file", "server", metavar="FILE.pem"
    )
    port: int = _option(
        0, "port the server listens on; 0 takes a free one (8765 with --serve)", "server", within=(0, 65535)
    )
    max_sessions: int = _option(
        8,
        "conversations at the same time: their frames are computed together, one more client is told to come later; "
        "python -m streamingtalker.bench sessions tells how many this machine can hold",
        "server",
        metavar="N",
        within=(1, 4096),
    )

    @property
    def filters(self) -> bool:
        """Whether indecent words are kept out."""
        return self.kiosk if self.filter is None else self.filter


def parse(arguments: list[str]) -> tuple[Settings, argparse.Namespace]:
    """Settings from the command line over those of ``--config FILE.toml`` over the defaults, and the parsed rest.

    Raises SettingsError for a wrong value; argparse itself exits on unknown options.
    """
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    given = {name: value for name, value in vars(parsed).items() if value is not None and name in _hints()}
    settings = from_toml(parsed.config) if parsed.config else Settings()
    return dataclasses.replace(settings, **{name: _convert(name, value, "--") for name, value in given.items()}), parsed


def from_toml(path: Path) -> Settings:
    """Settings from a TOML file. Raises SettingsError naming the file and the key that is wrong."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"The settings file {path} cannot be read ({error.strerror}); check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The settings file {path} is not TOML ({error}); mend it or leave out --config."
        ) from error
    values = {key.replace("-", "_"): value for key, value in values.items()}
    for key in values:
        if key not in _hints():
            raise SettingsError(f"{path} has the unknown setting {key!r}; 'python run_demo.py --help' lists them all.")
    return Settings(**{key: _convert(key, value, f"{path}: ") for key, value in values.items()})


def build_parser() -> argparse.ArgumentParser:
    """The command line of ``run_demo.py``."""
    parser = argparse.ArgumentParser(
        prog="run_demo.py",
        description="Talk to a 3D head: ask aloud, it answers. Everything runs on this machine, offline.",
        epilog="Without options: window, microphone and loudspeaker. Set OPENAI_API_KEY or OPENAI_BASE_URL to use "
        "another language model (OpenAI, Ollama, vLLM, llama.cpp). " + help_text(),
    )
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="read settings from this file first")
    parser.add_argument("--list-devices", action="store_true", help="list microphones and loudspeakers, and stop")
    parser.add_argument(
        "--persona-check", action="store_true", help="ask the persona its own test questions, and stop; see --json"
    )
    parser.add_argument(
        "--doctor", action="store_true", help="look whether everything is fit for a show, in half a minute, and stop"
    )
    parser.add_argument("--json", action="store_true", help="with --doctor or --persona-check: as JSON")
    groups: dict[str, Any] = {}
    for item in dataclasses.fields(Settings):
        group = groups.setdefault(item.metadata["group"], parser.add_argument_group(item.metadata["group"]))
        _add_option(group, item)
    return parser


def _add_option(group: Any, item: dataclasses.Field) -> None:  # noqa: ANN401 - argparse keeps its group type private
    flag = "--" + item.name.replace("_", "-")
    hint = _hints()[item.name]
    default = item.default if item.default is not dataclasses.MISSING else None
    text = item.metadata["help"] + (f" (default: {_shown(default)})" if default not in (None, False) else "")
    if bool in (hint, *get_args(hint)):
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
    else:
        kind = {int: int, float: float}.get(hint, str)
        group.add_argument(
            flag,
            type=kind,
            default=None,
            nargs="+" if get_origin(hint) is tuple else None,
            choices=item.metadata["choices"] or None,
            metavar=item.metadata["metavar"] or None,
            help=text,
        )


def _shown(default: object) -> object:
    return default.relative_to(ASSETS.parent) if isinstance(default, Path) else default


def _hints() -> dict[str, Any]:
    return get_type_hints(Settings)


def _convert(name: str, value: Any, source: str) -> Any:  # noqa: ANN401 - whatever TOML or argparse gave
    hint, what = _hints()[name], source + name.replace("_", "-")
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise SettingsError(f"{what} needs a list.")
        return tuple(_convert_one(get_args(hint)[0], item, what) for item in value)
    kind = next((kind for kind in get_args(hint) if kind is not type(None)), hint)
    value = _convert_one(kind, value, what)
    _check(name, value, what)
    return value


def _convert_one(kind: type, value: Any, what: str) -> Any:  # noqa: ANN401
    if kind is Path and isinstance(value, str):
        return Path(value).expanduser()
    if kind is Mood and isinstance(value, str):
        return _mood(value, what)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise SettingsError(f"{what} is {value!r}; it needs a value of type {kind.__name__}.")
    return value


def _mood(text: str, what: str) -> Mood:
    try:
        return Mood.parse(text)
    except MoodError as error:
        raise SettingsError(f"{what} is wrong. {error}") from error


def _check(name: str, value: Any, what: str) -> None:  # noqa: ANN401
    """Refuse what is none of an option's choices or outside its range."""
    metadata = next(item for item in dataclasses.fields(Settings) if item.name == name).metadata
    choices, within = metadata["choices"], metadata["within"]
    if choices and value not in choices:
        raise SettingsError(f"{what} is {value!r}; choose one of {', '.join(choices)}.")
    if within and not within[0] <= value <= within[1]:  # not a number is in no range
        raise SettingsError(f"{what} is {value}; give a number from {within[0]:g} to {within[1]:g}.")
