"""A stand runs by itself: invites, ends conversations, forgets, and never too much of anything. In virtual time."""

import asyncio
import itertools
import json
import math
import random

import numpy as np
import pytest

from demo.answering import Answerer
from demo.hearing import Draft, FinalText, NotUnderstood, Utterance
from demo.kiosk import (
    LETTERS_A_SECOND,
    Attendant,
    Forget,
    Hush,
    Kiosk,
    Rest,
    Rules,
    Say,
    Tick,
    Transcripts,
    TurnBegun,
    TurnOver,
    Voice,
)
from demo.listener import Listener
from demo.microphone import BLOCK, RATE, AudioBlock
from demo.openings import Line
from demo.persona import Persona
from demo.preflight import check
from demo.settings import Settings, SettingsError, parse
from demo.surroundings import SurroundingsError, adapt
from demo.trace import TurnTrace
from demo.turn_taking import Asked, Hushed, Stop, TurnTaking
from streamingtalker.audio import load_audio
from streamingtalker.places import PlaceError
from tests.server_fakes import ScriptedModel
from tests.test_listener import FRANCE
from tests.test_measure import Parrot
from tests.virtual_time import run

RULES = Rules(quiet=60, invite=90, question=20, reply=25, turns_a_minute=3)


class Stand:
    """A kiosk, its clock, and what it did when."""

    def __init__(self, rules=RULES, seed=0, speaks=5.0):
        self.kiosk, self.now, self.done = Kiosk(rules, seed, 0.0), 0.0, []
        self.speaks = speaks  # seconds the avatar takes for a phrase

    def tell(self, event):
        for action in self.kiosk.step(event, self.now):
            self.done.append((self.now, action))
            if isinstance(action, Say):
                self.tell(TurnBegun(asked=False))
                self.wait(self.speaks)
                self.tell(TurnOver())
            if isinstance(action, Hush):
                self.tell(TurnOver())

    def wait(self, seconds):
        end = self.now + seconds
        while self.kiosk.due <= end:
            self.now = max(self.now, self.kiosk.due)
            self.tell(Tick())
        self.now = max(self.now, end)

    def ask(self, seconds=4.0):
        self.tell(Voice())
        self.tell(TurnBegun(asked=True))
        self.wait(seconds)
        self.tell(TurnOver())

    def times(self, kind):
        return [time for time, action in self.done if isinstance(action, kind)]


def test_passers_by_are_invited_now_and_then_and_never_twice_the_same_in_a_row():
    stand = Stand()
    stand.wait(3600)
    times = stand.times(Say)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 24 < len(times) < 40 and min(gaps) >= RULES.invite and max(gaps) - min(gaps) > 10
    assert [action.phrase for _, action in stand.done[:3]] == ["invitations 0", "invitations 1", "invitations 2"]
    assert stand.kiosk.attracting and not stand.times(Forget)


def test_with_zero_nobody_is_ever_spoken_to():
    stand = Stand(Rules(invite=0))
    assert stand.kiosk.due == math.inf
    stand.wait(10_000)
    assert not stand.done


def test_nobody_is_invited_who_is_just_about_to_speak_but_a_noisy_hall_is():
    stand = Stand()
    planned = stand.kiosk.due
    stand.wait(planned - 1)
    stand.tell(Voice())
    stand.wait(6.9)
    assert stand.times(Say) == [pytest.approx(planned + 5)]
    noisy = Stand()
    while noisy.now < 1000:
        noisy.tell(Voice())
        noisy.wait(3)
    assert 3 <= len(noisy.times(Say)) <= 8


def test_after_a_quiet_minute_the_conversation_is_over_and_forgotten_once():
    stand = Stand()
    stand.wait(10)
    stand.ask()
    assert not stand.kiosk.attracting
    stand.wait(59.9)
    assert not stand.done
    stand.wait(0.2)
    assert stand.done == [(pytest.approx(74), Forget())] and stand.kiosk.attracting
    stand.wait(15)
    assert len(stand.done) == 1, "nobody is called back at once"


def test_each_question_begins_the_quiet_minute_anew_noise_does_not():
    stand = Stand()
    for _ in range(4):
        stand.wait(50)
        stand.ask()
    assert not stand.done
    end = stand.now + 60
    while stand.now < end + 30:
        stand.tell(Voice())
        stand.wait(2)
    (forgotten,) = stand.times(Forget)
    assert end <= forgotten <= end + RULES.question


def test_who_is_asking_when_the_minute_is_over_is_heard_out():
    stand = Stand()
    stand.ask()
    stand.wait(58)
    stand.tell(Voice())
    stand.wait(5)
    assert not stand.done
    stand.ask()
    stand.wait(50)
    assert not stand.done


def test_an_answer_that_does_not_end_is_cut_off():
    stand = Stand()
    stand.tell(TurnBegun(asked=True))
    stand.wait(300)
    assert stand.done[0] == (RULES.reply + 15, Hush()) and stand.times(Forget) == [RULES.reply + 15 + RULES.quiet]


def test_too_many_questions_in_a_minute_make_it_rest_and_say_so():
    stand = Stand()
    for _ in range(3):
        stand.ask(5.0)
    assert [action for _, action in stand.done] == [Rest(True), Say("breather")] and stand.kiosk.resting
    assert stand.done[0][0] == 10, "from the beginning of the last answer on: nobody interrupts it"
    stand.wait(100)
    assert stand.done[2] == (60, Rest(False)) and not stand.kiosk.resting
    slow = Stand()
    for _ in range(10):
        slow.ask(5.0)
        slow.wait(30)
    assert not slow.done


@pytest.mark.parametrize("seed", range(50))
def test_whatever_comes_when_the_rules_hold(seed):
    """Hours of random visitors: nothing too often, nothing for ever, and at the end nobody is remembered."""
    chance, stand = random.Random(seed), Stand(seed=seed)
    asked = []
    for _ in range(200):
        match chance.randrange(4):
            case 0:
                stand.wait(chance.choice((1, 5, 30, 70, 400)))
            case 1:
                stand.tell(Voice())
            case _ if not stand.kiosk.resting:
                asked.append(stand.now)
                stand.ask(chance.choice((0.5, 4, 20, 90)))
    stand.wait(200)
    assert stand.kiosk.attracting and not stand.kiosk.resting
    invited = [time for time, action in stand.done if isinstance(action, Say) and action.phrase != "breather"]
    assert all(b - a >= RULES.invite for a, b in itertools.pairwise(invited))
    assert all(asked[k + 3] - asked[k] >= 60 for k in range(len(asked) - 3))
    assert len(stand.times(Rest)) % 2 == 0
    for time in invited:
        last = max((t for t in asked if t < time), default=-math.inf)
        forgotten = [t for t in stand.times(Forget) if last < t <= time]
        assert last == -math.inf or forgotten, "nobody is invited in the middle of a conversation"


def test_the_attendant_wakes_the_kiosk_when_something_is_due():
    done = []

    async def stand():
        loop = asyncio.get_running_loop()
        attendant = Attendant(Kiosk(RULES, 0, loop.time()), lambda action: done.append((loop.time(), action)), loop)
        attendant.tell(TurnBegun(asked=True))
        await asyncio.sleep(3)
        attendant.tell(TurnOver())
        await asyncio.sleep(62)
        attendant.close()
        await asyncio.sleep(1000)

    run(stand())
    assert done == [(63, Forget())]


def test_transcripts_are_lines_of_json_that_tell_conversations_apart(tmp_path):
    path = tmp_path / "kept" / "said.jsonl"
    kept = Transcripts(path)
    kept.add(TurnTrace(1, "Who are you?", "I am Maya.", interrupted=True))
    kept.next_conversation()
    kept.add(TurnTrace(2, "Grüß Gott", "Hello."))
    first, second = map(json.loads, path.read_text("utf-8").splitlines())
    assert first["visitor"], first["avatar"] == ("Who are you?", "I am Maya.")
    assert first["interrupted"] and (first["conversation"], second["conversation"]) == (1, 2)
    assert second["visitor"] == "Grüß Gott" and second["time"] >= first["time"]
    with pytest.raises(PlaceError, match="--keep-transcripts"):
        Transcripts(path / "under a file")


def test_the_filter_is_on_at_a_stand_unless_it_is_switched_off():
    assert not Settings().filters and Settings(kiosk=True).filters and not Settings(kiosk=True, filter=False).filters
    settings, _ = parse(["--kiosk", "--quiet-seconds", "30", "--turns-a-minute", "5", "--longest-reply", "12"])
    assert Rules.of(settings) == Rules(30, 90, 20, 12, 5)


def test_a_stand_keeps_nothing_and_has_visitors_and_a_screen(tmp_path):
    with pytest.raises(SettingsError, match=r"--record would keep what visitors say.*--keep-transcripts"):
        check(Settings(kiosk=True, record=tmp_path / "film.mp4"))
    with pytest.raises(SettingsError, match="listens to visitors"):
        check(Settings(kiosk=True, text=("Hello?",)))
    with pytest.raises(SurroundingsError, match="No display and no sound card found"):
        adapt(Settings(kiosk=True), ["no display", "no sound card"])
    assert adapt(Settings(kiosk=True), []) == (Settings(kiosk=True), None)


def test_whoever_is_not_understood_at_an_empty_stand_gets_no_answer_and_hush_ends_a_turn():
    lost = NotUnderstood(Utterance(1, 0, 0.0, True, 0.5, 0.6))
    taking = TurnTaking()
    taking.asks_again = False
    assert taking.step(lost) == []
    taking.step(Draft(2, "Hm"))
    assert taking.step(lost) == [Stop(1)], "what was begun in secret is not said either"
    taking.step(Asked(Line("Welcome.")))
    assert taking.step(Hushed()) == [Stop(2)] and taking.step(Hushed()) == []


def test_an_answer_ends_with_the_sentence_that_is_long_enough():
    async def said(**limit):
        persona = Persona("Rosa", "Hi.", "You are Rosa.", longest_answer=9)
        answerer = Answerer(
            ScriptedModel(("One two three. Four five six. Seven eight nine. ",)), persona, "en", **limit
        )

        async def report(text):
            raise AssertionError(text)

        return [line.text async for line in answerer.answer("Count.", [], lambda step: None, report)]

    assert len(asyncio.run(said())) == 3
    assert asyncio.run(said(reply_characters=20)) == ["One two three.", "Four five six."]
    limit = Rules().reply * LETTERS_A_SECOND
    assert 300 < limit < 500, "a reply of 25 s"


def test_who_speaks_too_long_is_answered_to_what_was_said_so_far():
    voice = np.tile(load_audio(FRANCE)[0], 6) * 0.5  # breaths are no pauses, hardly
    told = []

    class Replay:
        name = "replay"

        def open(self):
            pass

        def close(self):
            pass

        def blocks(self):
            for position in range(0, len(voice) - BLOCK + 1, BLOCK):
                yield AudioBlock(voice[position : position + BLOCK], position, (position + BLOCK) / RATE)

    listener = Listener(Replay(), Parrot("Well I never and"), told.append, longest=4.0)
    listener.start()
    assert listener.join(20)
    ends = [event.utterance.last_speech_sample / RATE for event in told if isinstance(event, FinalText)]
    assert len(ends) >= 2 and max(np.diff([0.0, *ends])) < 4.5
