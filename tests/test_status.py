"""What the overlay says at each moment of a conversation."""

from demo.active_turn import ActiveTurn
from demo.clock import PlaybackTime
from demo.messages import PROTOCOL, ReplyText, Welcome
from demo.openings import Question
from demo.status import Status
from streamingtalker.mood import Mood

WELCOME = Welcome(PROTOCOL, "test", 3, 30.0, 24_000, {})


def _turn(number=1):
    turn = ActiveTurn(number, Question("Who are you?"), WELCOME, 0.0, over=None)
    turn.captions = [ReplyText(number, "I am Maya.", 0), ReplyText(number, "And you?", 24_000, "happy:0.6")]
    return turn


def _now(seconds, turn=1):
    return PlaybackTime(turn, seconds)


def test_listening_hearing_thinking_speaking():
    assert Status().captions(_now(None)).state == "idle"
    assert Status(listening=True).captions(_now(None)).state == "listening"
    assert Status(listening=True, hearing=True, user="who").captions(_now(None)).state == "hearing"
    thinking = Status(user="Who are you?", turn=_turn())
    assert thinking.captions(_now(None)).state == "thinking"
    assert thinking.captions(_now(-0.02)).state == "thinking"
    assert thinking.captions(_now(0.5)).state == "speaking"
    assert thinking.captions(_now(0.5, turn=0)).state == "thinking"


def test_captions_show_the_question_and_the_sentence_being_spoken():
    status = Status(user="Who are you?", turn=_turn())
    assert status.captions(_now(None)).reply == ""
    assert status.captions(_now(0.5)).reply == "I am Maya."
    assert status.captions(_now(1.5)).reply == "And you?"
    assert status.captions(_now(1.5)).user == "Who are you?"


def test_the_face_bears_the_mood_of_the_sentence_being_spoken():
    status = Status(turn=_turn(), resting_mood=Mood("serious"))
    assert status.bearing(_now(1.5)).mood == Mood("happy", 0.6)
    assert status.bearing(_now(1.5)).state == "speaking"
    assert status.bearing(_now(None)).mood == Mood(), "the first sentence is about to be spoken"
    status.turn.captions = []
    assert status.bearing(_now(None)).mood == Mood("serious")
    assert Status(resting_mood=Mood("sad"), draws_moods=False).bearing(_now(None)).mood == Mood("sad")
    assert not Status(draws_moods=False).bearing(_now(None)).mood_is_drawn
