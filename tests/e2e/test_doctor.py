"""The doctor on a healthy rig and on five that are really broken: what it says, how it ends, how long it takes."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from demo.models import ModelStore, default_cache
from tests.conftest import missing
from tests.e2e.conftest import REPOSITORY, Display, SoundServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
LONGEST = 30.0  # seconds

_NO_CAPTURE = """
pcm.!default {{ type asym playback.pcm {{ type pulse server "{server}" }} }}
pcm_type.pulse {{ lib "libasound_module_pcm_pulse.so" }}
"""


@dataclass(frozen=True)
class Examined:
    """What the doctor told of a rig."""

    status: int
    seconds: float
    findings: dict[str, dict]  # by what was looked at; of several the worst

    def level(self, what: str) -> str:
        return self.findings[what]["level"]


def examine(env: dict[str, str], *options: str, before: tuple[str, ...] = ()) -> Examined:
    """Run the doctor; ``before``: words of the command before Python."""
    environment = {**os.environ, "STREAMINGTALKER_CACHE": str(default_cache())} | env
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "WAYLAND_DISPLAY"):
        environment.pop(name, None)
    began = time.monotonic()
    done = subprocess.run(
        [*before, sys.executable, "run_demo.py", "--doctor", "--json", *options],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    document = json.loads(done.stdout)
    assert document["status"] == done.returncode, done.stderr
    worst = sorted(document["findings"], key=lambda finding: ["ok", "weak", "broken"].index(finding["level"]))
    print(done.stdout)
    return Examined(done.returncode, time.monotonic() - began, {finding["what"]: finding for finding in worst})


@pytest.fixture
def healthy(display: Display, sound: SoundServer) -> Iterator[dict[str, str]]:
    """The environment of a rig whose microphone hears its loudspeaker."""
    if not (ModelStore().installed("smollm2-135m") and ModelStore().installed("whisper-tiny-en")):
        missing("the models are missing; run 'python -m demo.models'")
    module = sound.pactl("load-module", "module-remap-source", "source_name=ear", "master=speaker.monitor").strip()
    sound.pactl("set-default-source", "ear")
    yield display.env | sound.env
    sound.pactl("set-default-source", "microphone")
    sound.pactl("unload-module", module)


def test_a_healthy_rig_is_told_to_be(healthy):
    found = examine(healthy)
    for what in ("microphone", "loudspeaker", "window", "models", "network", "language model", "disk"):
        assert found.level(what) == "ok", found.findings[what]
    assert {what for what in found.findings if found.level(what) != "ok"} <= {"frame rate", "lips and voice", "memory"}
    assert found.seconds < LONGEST  # how fast pictures come is up to what else this machine does
    heard = found.findings["loudspeaker"]["figures"]
    assert 0 < heard["delay_ms"] < 500 and abs(heard["echo_db"]) < 1  # a monitor hears what is played as loud as it is


def test_no_microphone(healthy, tmp_path):
    config = tmp_path / "asound.conf"
    config.write_text(_NO_CAPTURE.format(server=healthy["PULSE_SERVER"]))
    found = examine(healthy | {"ALSA_CONFIG_PATH": str(config)})
    assert found.status == 2 and found.seconds < LONGEST
    assert found.level("microphone") == "broken" and "No microphone was found" in found.findings["microphone"]["text"]
    assert found.level("loudspeaker") == "weak"
    assert found.level("window") == found.level("models") == found.level("language model") == "ok"


def test_a_silent_microphone(display, sound):
    found = examine(display.env | sound.env)
    assert found.status == 2 and found.seconds < LONGEST
    assert found.level("microphone") == "broken" and "is silent" in found.findings["microphone"]["text"]
    assert "unmute it" in found.findings["microphone"]["remedy"]


def test_a_model_with_one_wrong_byte(healthy, tmp_path):
    """Of the right size and with the right time: only its hash tells."""
    whole, name = default_cache() / "whisper-tiny-en", "model.bin"
    broken = tmp_path / "whisper-tiny-en"
    shutil.copytree(whole, broken)
    (tmp_path / "smollm2-135m").symlink_to(default_cache() / "smollm2-135m")
    times = (broken / name).stat()
    with (broken / name).open("r+b") as file:
        file.seek(1_000_000)
        byte = file.read(1)[0]
        file.seek(1_000_000)
        file.write(bytes([byte ^ 1]))
    os.utime(broken / name, ns=(times.st_atime_ns, times.st_mtime_ns))
    found = examine(healthy | {"STREAMINGTALKER_CACHE": str(tmp_path)})
    assert found.status == 2 and found.seconds < LONGEST
    assert found.level("models") == "broken"
    assert f"{broken / name} has a wrong SHA-256" in found.findings["models"]["text"]
    assert found.level("microphone") == found.level("language model") == "ok"


def test_no_opengl(healthy):
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    xvfb = subprocess.Popen([*command, "-extension", "GLX"], pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as answer:
            number = answer.readline().strip()
        found = examine(healthy | {"DISPLAY": f":{number}"})
    finally:
        xvfb.terminate()
        xvfb.wait(10)
    assert found.status == 2 and found.seconds < LONGEST
    assert found.level("window") == "broken" and "No window opens" in found.findings["window"]["text"]
    assert "driver" in found.findings["window"]["remedy"]
    assert found.level("microphone") == found.level("language model") == "ok"


def test_no_network(healthy):
    """In a network of its own that leads nowhere, with a voice that comes from the internet."""
    alone = ("unshare", "--net", "--map-root-user")
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        missing("no network of one's own: unshare is not allowed here")
    up = (*alone, "sh", "-c", 'ip link set lo up 2>/dev/null || true; exec "$@"', "sh")
    found = examine(healthy, "--tts", "gtts", before=up)
    assert found.status == 2 and found.seconds < LONGEST
    assert found.level("network") == "broken"
    assert "translate.google.com, which cannot be reached" in found.findings["network"]["text"]
    assert "--tts hibari" in found.findings["network"]["remedy"]
    assert found.level("microphone") == found.level("window") == "ok"
