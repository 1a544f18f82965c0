"""A session ends when it should, whatever it is doing, and the screen says what is going on."""

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from demo import client_thread
from demo import messages as m
from demo.client_thread import ClientThread, Shared
from demo.echo import EchoError
from demo.frame_queue import FrameQueue
from demo.hearing import (
    Draft,
    DraftWithdrawn,
    FinalText,
    NotUnderstood,
    UserSpeaking,
    Utterance,
)
from demo.kiosk import Forget, Hush, Rest, TranscriptError, Transcripts, TurnBegun, TurnOver, Voice
from demo.playback import Playback, SimulatedSpeaker
from demo.settings import Settings
from demo.stage import SyncMeter
from demo.trace import SessionTrace
from streamingtalker.errors import UserError
from tests.test_client import FPS, RATE, VERTICES, WELCOME, _frame, _respond, scripted_server

pytestmark = pytest.mark.realtime


@contextmanager
def running_server(respond):
    """A scripted server in a thread of its own; gives its address."""
    loop = asyncio.new_event_loop()
    stop, address = asyncio.Event(), []
    ready = threading.Event()

    async def main():
        async with scripted_server(respond, []) as url:
            address.append(url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    assert ready.wait(10)
    yield address[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)
    loop.close()


@pytest.fixture
def playback():
    playback = Playback(SimulatedSpeaker(latency=0.01))
    playback.open()
    yield playback
    playback.close()


def session(playback, wait_for_server, **settings):
    shared = Shared(playback, FrameQueue(), SyncMeter(), VERTICES, WELCOME.mesh, FPS)
    return ClientThread(Settings(**settings), shared, SessionTrace(), wait_for_server, time.monotonic())


def test_a_typed_session_takes_its_turns_and_ends(playback):
    with running_server(_respond) as url:
        client = session(playback, lambda: url, text=("Who are you?", "And you?"))
        client.start()
        assert client.over.wait(30)
        client.stop()
    assert client.error is None
    assert [turn.transcript for turn in client.trace.turns] == ["Who are you?", "And you?"]
    assert client.trace.cold_start_s > 0


def test_a_session_that_never_began_is_stopped_at_once(playback):
    session(playback, lambda: "", text=("Hm?",)).stop()


def test_leaving_while_the_server_loads_does_not_wait_for_it(playback):
    loading = threading.Event()
    client = session(playback, lambda: loading.wait(60) or "", text=("Hm?",))
    client.start()
    began = time.monotonic()
    client.stop()
    assert time.monotonic() - began < 10
    assert client.over.is_set() and client.error is None
    loading.set()


def test_leaving_in_the_middle_of_an_answer_takes_a_moment(playback):
    """The server goes on sending, the queue is full, nobody reads any more."""
    sound = m.PcmChunk(1, 0, np.zeros(RATE, "<i2").tobytes())

    def flood(message):
        yield sound
        yield from (_frame(message.turn, index) for index in range(2000))

    with running_server(flood) as url:
        client = session(playback, lambda: url, text=("Tell me everything.",))
        client.start()
        deadline = time.monotonic() + 20
        while client.status.turn is None or client.status.turn.frames < 240:
            assert time.monotonic() < deadline, "the answer never came"
            time.sleep(0.01)
        began = time.monotonic()
        client.stop()
        assert time.monotonic() - began < 6  # the goodbye alone used to take ten seconds
    assert client.error is None


def test_a_server_that_cannot_start_ends_the_session_with_its_sentence(playback):
    def fail():
        raise UserError("The weights are gone; restore them.")

    client = session(playback, fail, text=("Hm?",))
    client.start()
    assert client.over.wait(10)
    client.stop()
    assert str(client.error) == "The weights are gone; restore them."


def test_a_lost_loudspeaker_ends_the_session_also_before_it_begins(playback):
    client = session(playback, lambda: "", text=("Hm?",))
    client.fail(UserError("The loudspeaker is gone."))
    client.start()
    assert client.over.wait(10)
    client.stop()
    assert str(client.error) == "The loudspeaker is gone."


def test_a_notice_stays_on_the_screen_for_a_turn(playback):
    notices = []

    def respond(message):
        if message.turn == 1:
            yield m.Notice("warning", "hibari speaks instead of Google.")
        yield from _respond(message)

    with running_server(respond) as url:
        client = session(playback, lambda: url, text=("One?", "Two?", "Three?"))
        end_turn = client._client._on_trace
        client._client._on_trace = lambda trace: (end_turn(trace), notices.append(client.status.notice))
        client.start()
        assert client.over.wait(30)
        client.stop()
    assert notices == ["hibari speaks instead of Google.", "", ""]


def test_who_speaks_into_the_avatars_turn_is_not_heard(playback):
    hearing = []

    def respond(message):
        client._call(client._heard, UserSpeaking(1, 0.0))
        client._call(lambda _: hearing.append(client.status.hearing), None)
        yield from _respond(message)

    with running_server(respond) as url:
        client = session(playback, lambda: url, text=("One?",))
        client.start()
        assert client.over.wait(30)
        client.stop()
    assert hearing == [False] and not client.status.hearing


class Ears:
    """In place of a listener: remembers what is asked of it."""

    level = -30.0

    def __init__(self):
        self.asked = []

    def set_mode(self, mode):
        self.asked.append(str(mode))

    def hold(self, held):
        self.asked.append("held" if held else "let go")

    def stop(self):
        pass


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def long_answer(message):
    """An answer of a minute, most of which never comes."""
    if isinstance(message, m.UserText | m.SayPhrase):
        yield m.ReplyText(message.turn, "Well,", 0)
        yield m.PcmChunk(message.turn, 0, np.full(RATE, 8000, "<i2").tobytes())
        yield from (_frame(message.turn, index) for index in range(30))


def noting(received, respond):
    """As ``respond``, while ``received`` grows."""

    def noted(message):
        received.append(message)
        return respond(message)

    return noted


def test_the_keys_switch_what_is_heard_and_end_the_avatars_turn(playback):
    received = []
    with running_server(noting(received, long_answer)) as url:
        client = session(playback, lambda: url, text=("One?", "Two?", "Three?"))
        client._listener = ears = Ears()
        client.start()
        until(lambda: client.status.turn is not None)
        client.set_muted(True)
        until(lambda: client.status.muted)
        assert client.status.turn is not None and client.status.level == -30.0
        until(lambda: playback.counts().played > 0)
        client.push_to_talk(True)
        until(lambda: client.status.turn is not None and client.status.turn.opening.text == "Two?")
        assert client.status.pushed
        client.push_to_talk(False)
        until(lambda: not client.status.pushed)
        client.set_muted(False)
        client.new_conversation()
        until(lambda: any(isinstance(message, m.NewConversation) for message in received))
        client.stop()
    assert ears.asked[:2] == ["guarded", "deaf"] and "held" in ears.asked and "let go" in ears.asked
    first, *_ = [message for message in received if isinstance(message, m.Interrupt)]
    assert first.turn == 1 and 0 < first.heard_samples < RATE
    assert client.trace.turns[0].interrupted and client.trace.turns[0].heard_seconds > 0


def test_whoever_interrupts_is_answered_and_the_avatar_is_silent_at_once(playback):
    utterance = Utterance(1, 16_000, time.monotonic(), True, time.monotonic(), time.monotonic())
    with running_server(long_answer) as url:
        client = session(playback, lambda: url, text=("One?",))
        client._listener = Ears()
        client.start()
        until(lambda: playback.counts().played > 0)
        client._heard_from_thread(UserSpeaking(1, time.monotonic() - 0.2, interrupts=True))
        until(lambda: client.trace.turns)
        assert client.status.hearing and client.status.turn is None
        assert 200 < client.trace.turns[0].silence_ms < 600
        client._heard_from_thread(Draft(1, "And"))
        client._heard_from_thread(DraftWithdrawn(1))
        client._heard_from_thread(FinalText("And now?", utterance))
        client.stop()
    assert [turn.transcript for turn in client.trace.turns][:1] == ["One?"]


def test_where_the_echo_cannot_be_taken_out_it_listens_only_when_silent(playback, monkeypatch):
    def unavailable(microphone, played):
        raise EchoError("No echo cancellation here; install it.")

    monkeypatch.setattr(client_thread, "lasting_microphone", lambda device, tell, streams: "real")
    monkeypatch.setattr(client_thread, "CleanMicrophone", unavailable)
    told = []
    client = session(playback, lambda: "")
    client._notice_from_thread = told.append
    assert client._real_microphone() == "real" and client._client.half_duplex
    assert "does not listen while it speaks" in told[0].text
    assert playback.taps == []

    monkeypatch.setattr(client_thread, "CleanMicrophone", lambda microphone, played: f"clean {microphone}")
    client = session(playback, lambda: "")
    assert client._real_microphone() == "clean real" and not client._client.half_duplex
    assert len(playback.taps) == 1
    client = session(playback, lambda: "", half_duplex=True)
    assert client._real_microphone() == "real" and client._client.half_duplex


def test_a_microphone_that_hangs_while_it_opens_does_not_keep_the_session_from_ending(playback, monkeypatch):
    opening, opens = threading.Event(), threading.Event()

    class Slow(Ears):
        def __init__(self, *_, **__):
            super().__init__()

        def start(self):
            opening.set()
            assert opens.wait(30)

    recognizer = SimpleNamespace(name="none")
    monkeypatch.setattr(client_thread, "choose_recognizer", lambda settings, models, tell: recognizer)
    monkeypatch.setattr(client_thread, "Listener", Slow)
    client = session(playback, lambda: "ws://localhost:9", question=("who.wav",))
    client.start()
    assert opening.wait(10)
    stopping = threading.Thread(target=client.stop, daemon=True)
    stopping.start()
    stopping.join(10)
    left = not stopping.is_alive()
    opens.set()
    assert left and client.error is None


def test_a_face_model_for_points_in_another_order_is_refused(playback):
    with running_server(_respond) as url:
        client = session(playback, lambda: url, text=("Hm?",))
        client._shared = replace(client._shared, mesh="other")
        client.start()
        assert client.over.wait(30)
        client.stop()
    assert "points are in another order" in str(client.error)


def test_at_a_stand_visitors_are_answered_forgotten_and_left_out_of_log_and_trace(playback, caplog, tmp_path):
    received, kept = [], tmp_path / "said.jsonl"

    def respond(message):
        received.append(message)
        return long_answer(message)

    with running_server(respond) as url:
        client = session(playback, lambda: url, kiosk=True, keep_transcripts=kept, quiet_seconds=5.0)
        client._start_listening = lambda: setattr(client, "_listener", Ears())
        caplog.set_level("DEBUG")
        client.start()
        until(lambda: client.status.turn is not None)
        assert client.status.attracting and client.status.bearing(playback.clock.now()).state != "inviting"
        client._call(lambda _: client._obey(Hush()), None)
        until(lambda: client.status.turn is None)
        assert client.status.bearing(playback.clock.now()).state == "inviting"

        lost = NotUnderstood(Utterance(1, 0, time.monotonic(), True, time.monotonic(), time.monotonic()))
        client._heard_from_thread(lost)
        client._heard_from_thread(FinalText("Where is aunt Gertrude?", lost.utterance))
        until(lambda: client.status.turn is not None)
        assert not client.status.attracting and client.status.user == "Where is aunt Gertrude?"
        until(lambda: playback.counts().played > 0)
        client._call(lambda _: client._obey(Hush()), None)
        until(lambda: len(client.trace.turns) == 2)
        client._call(lambda _: client._obey(Forget()), None)
        until(lambda: any(isinstance(message, m.NewConversation) for message in received))
        client.stop()
    assert not [message for message in received if isinstance(message, m.SayPhrase) and message.phrase == "not_heard"]
    assert "Gertrude" not in caplog.text and "Well," not in caplog.text
    assert [(turn.transcript, turn.reply) for turn in client.trace.turns] == [("", "")] * 2
    assert [json.loads(line)["visitor"] for line in kept.read_text().splitlines()] == ["Where is aunt Gertrude?"]


def question(text):
    now = time.monotonic()
    return FinalText(text, Utterance(1, 0, now, True, now, now))


def hush(client):
    client._call(lambda _: client._obey(Hush()), None)


def answer_and_hush(client, text):
    client._heard_from_thread(question(text))
    until(lambda: client.status.turn and client.status.turn.opening.transcript == text)
    turn = client.status.turn
    hush(client)
    until(lambda: client.status.turn is None and turn.over.done())


def test_a_stand_whose_disk_is_full_says_so_once_and_goes_on(playback, caplog, monkeypatch, tmp_path):
    kept, room = tmp_path / "said.jsonl", [False]
    add = Transcripts.add

    def full(transcripts, turn):
        if not room[0]:
            raise TranscriptError("The transcript cannot be written (No space left); check the free space there.")
        add(transcripts, turn)

    monkeypatch.setattr(Transcripts, "add", full)
    with running_server(long_answer) as url:
        client = session(playback, lambda: url, kiosk=True, keep_transcripts=kept)
        client._start_listening = lambda: setattr(client, "_listener", Ears())
        client.start()
        until(lambda: client.status.turn is not None)  # an invitation
        for number in range(4):
            room[0] = number == 2
            answer_and_hush(client, f"Question {number}?")
            assert client.status.notice.startswith("The transcript cannot") == (number in (0, 3))
        until(lambda: client._attendant.kiosk.due - client._loop.time() > 50)  # it knows that its turn is over
        client.stop()
    assert client.error is None and not [each for each in caplog.records if each.name == "asyncio"]
    assert [json.loads(line)["visitor"] for line in kept.read_text().splitlines()] == ["Question 2?"]
    assert caplog.text.count("The transcript cannot be written") == 2, "once, and once more when it fails anew"
    assert len(client.trace.turns) == 5 and all(turn.interrupted for turn in client.trace.turns)


def test_what_a_stand_says_when_a_turn_ends_has_its_face(playback):
    """The rules ask for it while the interrupted turn is still being ended."""
    received = []
    with running_server(noting(received, long_answer)) as url:
        client = session(playback, lambda: url, kiosk=True, turns_a_minute=1)
        client._start_listening = lambda: setattr(client, "_listener", Ears())
        client.start()
        until(lambda: client.status.turn is not None)
        client._heard_from_thread(question("Who are you?"))
        until(lambda: client._attendant.kiosk.resting)
        hush(client)
        until(lambda: received and received[-1] == m.SayPhrase(3, "breather"))
        until(lambda: client.status.turn is not None and client.status.turn.frames == 30)
        assert client.status.turn.number == 3 and client._shared.frames.waiting() == 30
        client.stop()


def test_a_question_into_an_answer_does_not_end_the_avatars_turn(playback, monkeypatch):
    """The stand's rules would let it invite somebody else, and cut the answer off."""
    told = []
    with running_server(long_answer) as url:
        client = session(playback, lambda: url, kiosk=True)
        tell = client._tell_attendant
        monkeypatch.setattr(client, "_tell_attendant", lambda event: (told.append(event), tell(event)))
        client._start_listening = lambda: setattr(client, "_listener", Ears())
        client.start()
        until(lambda: client.status.turn is not None)
        client._heard_from_thread(question("Who are you?"))
        until(lambda: client.status.user == "Who are you?" and len(client.trace.turns) == 1)
        hush(client)
        until(lambda: told and told[-1] == TurnOver())
        client.stop()
    assert [event for event in told if event != Voice()] == [TurnBegun(False), TurnBegun(True), TurnOver()]


def test_pictures_of_an_interrupted_turn_are_measured_before_the_next_turn_takes_their_place(playback, monkeypatch):
    with running_server(long_answer) as url:
        client = session(playback, lambda: url, text=("One?",))
        client._listener = Ears()
        client.start()
        until(lambda: playback.counts().played > 0)
        client._shared.meter.add(1.0, 0.99)
        stop = playback.stop
        monkeypatch.setattr(playback, "stop", lambda: (stop(), client._shared.meter.reset())[0])  # as the stage does
        client._heard_from_thread(UserSpeaking(1, time.monotonic() - 0.2, interrupts=True))
        until(lambda: client.trace.turns)
        client.stop()
    assert client.trace.turns[0].av_offset_ms["p50"] == pytest.approx(10)


def test_a_rest_does_not_open_a_microphone_that_the_operator_has_closed(playback):
    client = session(playback, lambda: "", kiosk=True)
    client._mute(True)
    client._obey(Rest(True))
    client._obey(Rest(False))
    assert client.status.muted
    client._mute(False)
    assert not client.status.muted
