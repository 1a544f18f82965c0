import pytest

from demo.devices import DeviceError, devices, find_device, list_devices


class FakePortAudio:
    """The part of sounddevice that looks devices up."""

    class PortAudioError(Exception):
        pass

    class default:  # noqa: N801 - its name in sounddevice
        device = (-1, -1)

    def __init__(self, entries, hosts=(("ALSA", 0, 1),), broken=False):
        self.entries, self.hosts, self.broken = entries, hosts, broken

    def query_devices(self):
        if self.broken:
            raise self.PortAudioError("host error")
        keys = ("name", "hostapi", "max_input_channels", "max_output_channels", "default_samplerate")
        return [dict(zip(keys, entry, strict=True)) for entry in self.entries]

    def query_hostapis(self):
        keys = ("name", "default_input_device", "default_output_device")
        return [dict(zip(keys, host, strict=True)) for host in self.hosts]


DESK = [
    ("USB Headset", 0, 1, 0, 44100.0),
    ("HDMI", 0, 0, 8, 48000.0),
    ("Webcam Mic", 0, 2, 0, 48000.0),
    ("Table Mic", 0, 4, 0, 16000.0),
]


def test_the_default_is_the_systems_choice():
    assert find_device(None, "input", FakePortAudio(DESK)).name == "USB Headset"
    assert find_device(None, "output", FakePortAudio(DESK)).name == "HDMI"


def test_without_a_default_the_first_usable_device_is_taken():
    assert find_device(None, "input", FakePortAudio(DESK, hosts=(("ALSA", -1, -1),))).index == 0


@pytest.mark.parametrize(("name", "index"), [("2", 2), ("webcam", 2), ("Table Mic", 3), (" usb headset ", 0)])
def test_a_device_is_found_by_number_name_or_part_of_it(name, index):
    assert find_device(name, "input", FakePortAudio(DESK)).index == index


@pytest.mark.parametrize("name", ["1", "99", "HDMI", "no such thing"])
def test_an_unknown_microphone_is_told_with_those_there_are(name):
    with pytest.raises(DeviceError, match=r"'Table Mic'.*--list-devices"):
        find_device(name, "input", FakePortAudio(DESK))


def test_an_ambiguous_name_asks_for_the_number():
    with pytest.raises(DeviceError, match=r"2 'Webcam Mic', 3 'Table Mic'.*number to --input-device"):
        find_device("mic", "input", FakePortAudio(DESK))


def test_the_same_device_under_several_sound_systems_is_one():
    entries = [("Mic", 0, 2, 0, 44100.0), ("Speaker", 0, 0, 2, 44100.0), ("Mic", 1, 2, 0, 48000.0)]
    fake = FakePortAudio(entries, hosts=(("MME", 0, 1), ("WASAPI", 2, -1)))
    assert find_device("mic", "input", fake).index == 0


def test_no_microphone_at_all_names_the_remedies():
    with pytest.raises(DeviceError, match=r"No microphone was found.*--list-devices.*--question"):
        find_device(None, "input", FakePortAudio(DESK[1:2]))
    with pytest.raises(DeviceError, match=r"No loudspeaker was found.*--headless"):
        find_device(None, "output", FakePortAudio([]))


def test_a_dead_sound_system_is_a_user_error():
    with pytest.raises(DeviceError, match="sound system does not answer"):
        devices(FakePortAudio(DESK, broken=True))


def test_the_table_lists_every_device_and_marks_the_defaults():
    lines = list_devices(FakePortAudio(DESK)).splitlines()
    assert len(lines) == 1 + len(DESK)
    assert [line[0] for line in lines[1:]] == [">", ">", " ", " "]
    assert "Webcam Mic" in lines[3] and "48000" in lines[3]
    assert lines[1].endswith("microphone") and lines[2].endswith("loudspeaker")
    assert list_devices(FakePortAudio([])) == "No sound devices were found."


def test_the_real_portaudio_answers_or_says_why_not():
    try:
        assert list_devices()
    except DeviceError as error:
        assert "PortAudio" in str(error) or "sound" in str(error)
