"""Who has the turn: each state and event, then what must hold whatever happens in whichever order."""

import random

import pytest

from demo.hearing import (
    Draft,
    DraftWithdrawn,
    FinalText,
    Hearing,
    NotUnderstood,
    UserSpeaking,
    Utterance,
)
from demo.openings import Line, Phrase, Question
from demo.turn_taking import (
    Answering,
    Asked,
    Begin,
    Finish,
    Forget,
    Found,
    Lost,
    Muted,
    Pushed,
    Quiet,
    Renewed,
    Reveal,
    Secret,
    Spoken,
    Stop,
    TurnTaking,
)

LINE = Line("Welcome.", 0.0)


def uttered(number: int) -> Utterance:
    return Utterance(number, 16_000, last_speech_time=10.0, exact=True, decided_time=10.5, text_time=10.9)


def final(number: int, text: str) -> FinalText:
    return FinalText(text, uttered(number))


def after(*events: object, half_duplex: bool = False) -> TurnTaking:
    taking = TurnTaking(half_duplex=half_duplex)
    for event in events:
        taking.step(event)
    return taking


def question(text: str) -> Question:
    return Question(text, 10.0, {"endpoint": 500.0, "stt": 400.0})


def rounded(opening: Question) -> Question:
    return Question(opening.text, opening.asked_at, {name: round(ms) for name, ms in opening.spans_ms.items()})


def test_what_was_said_is_answered_and_then_it_is_quiet_again():
    taking = after(UserSpeaking(1, 9.0))
    (begin,) = taking.step(final(1, "Who are you?"))
    assert (begin.turn, begin.secretly, rounded(begin.opening)) == (1, False, question("Who are you?"))
    assert taking.hearing is Hearing.GUARDED
    assert taking.step(Spoken(1)) == [Finish(1)]
    assert taking.state == Quiet() and taking.hearing is Hearing.OPEN


def test_what_was_not_understood_is_asked_for_again():
    (begin,) = after().step(NotUnderstood(uttered(1)))
    assert isinstance(begin.opening, Phrase) and begin.opening.phrase == "not_heard"
    assert after(Asked(LINE)).step(NotUnderstood(uttered(1))) == [], "not in the avatar's own turn"


def test_a_draft_is_answered_in_secret_and_revealed_by_the_same_words():
    taking = after(UserSpeaking(1, 9.0))
    (begin,) = taking.step(Draft(1, "Who are you"))
    assert (begin.turn, begin.secretly, begin.opening.text) == (1, True, "Who are you")
    assert taking.hearing is Hearing.OPEN, "the user may go on"
    assert taking.step(Draft(1, "who are you?")) == [], "the same words"
    (reveal,) = taking.step(final(1, "Who are you?"))
    assert isinstance(reveal, Reveal) and rounded(reveal.opening) == question("Who are you?")
    assert taking.state == Answering(1)


def test_other_words_throw_the_secret_away():
    taking = after(Draft(1, "Who are"))
    stop, begin = taking.step(final(1, "Who are you?"))
    assert (stop, begin.turn, begin.secretly) == (Stop(1), 2, False)
    stop, begin = after(Draft(1, "Who are")).step(Draft(1, "Who are you"))
    assert (stop, begin.turn, begin.secretly) == (Stop(1), 2, True)
    stop, begin = after(Draft(1, "Yes")).step(final(2, "Yes"))
    assert (stop, begin.turn) == (Stop(1), 2), "said anew"


def test_a_withdrawn_draft_leaves_it_quiet():
    taking = after(Draft(1, "Who are"))
    assert taking.step(DraftWithdrawn(7)) == [], "of another utterance"
    assert taking.step(DraftWithdrawn(1)) == [Stop(1)]
    assert taking.state == Quiet()


def test_an_interruption_stops_the_avatar_and_its_words_are_the_next_question():
    taking = after(Asked(LINE))
    assert taking.step(UserSpeaking(3, 5.0)) == [], "it does not interrupt"
    assert taking.step(UserSpeaking(4, 6.0, interrupts=True)) == [Stop(1, 6.0)]
    assert taking.hearing is Hearing.OPEN
    assert taking.step(Spoken(1)) == [], "too late"
    assert taking.step(Draft(4, "Why?"))[0].turn == 2
    assert isinstance(taking.step(final(4, "Why?"))[0], Reveal)


def test_who_says_stop_is_obeyed_and_not_answered():
    taking = after(Asked(LINE))
    assert taking.step(UserSpeaking(1, 9.0, interrupts=True)) == [Stop(1, 9.0)]
    assert taking.step(Draft(1, "Stop.")) == []
    assert taking.step(final(1, "Stop, please!")) == []
    assert taking.state == Quiet() and taking.hearing is Hearing.OPEN


def test_a_stop_that_interrupts_nobody_is_words_like_others():
    taking = after(Draft(1, "Stop."))
    assert taking.state == Secret(1, 1, "Stop.")
    assert isinstance(taking.step(final(1, "Stop."))[0], Reveal)


def test_who_began_to_speak_before_the_avatar_is_answered_too():
    stop, begin = after(UserSpeaking(2, 1.0), final(1, "One?")).step(final(2, "Two?"))
    assert (stop, begin.turn) == (Stop(1), 2)


def test_half_duplex_hears_nothing_in_the_avatars_turn():
    taking = after(Asked(LINE), half_duplex=True)
    assert taking.hearing is Hearing.DEAF
    for event in (UserSpeaking(1, 1.0, interrupts=True), Draft(1, "Hm"), final(1, "Hm?"), NotUnderstood(uttered(1))):
        assert taking.step(event) == []
    taking.step(Spoken(1))
    assert taking.hearing is Hearing.OPEN


def test_muted_nothing_is_heard_but_the_avatar_goes_on():
    taking = after(Asked(LINE))
    assert taking.step(Muted(True)) == [] and taking.hearing is Hearing.DEAF
    assert taking.step(Spoken(1)) == [Finish(1)]
    assert taking.hearing is Hearing.DEAF and taking.step(final(1, "Hm?")) == []
    assert taking.step(Muted(False)) == [] and taking.hearing is Hearing.OPEN
    assert after(Draft(1, "Who are")).step(Muted(True)) == [Stop(1)], "the end of it will not be heard"


def test_the_push_to_talk_key_opens_the_microphone_whatever_it_was():
    taking = after(Muted(True), Asked(LINE), half_duplex=True)
    assert taking.step(Pushed(True)) == [Stop(1)] and taking.hearing is Hearing.OPEN
    taking.step(UserSpeaking(1, 1.0))
    assert taking.step(Pushed(False)) == [] and taking.hearing is Hearing.OPEN, "whoever still speaks is heard out"
    assert taking.step(final(1, "Hm?"))[0].turn == 2
    assert taking.hearing is Hearing.DEAF


def test_a_key_that_was_pushed_in_silence_leaves_nothing_open():
    assert after(Muted(True), Pushed(True), Pushed(False)).hearing is Hearing.DEAF
    assert after(Pushed(True), Pushed(False)).hearing is Hearing.OPEN


def test_a_new_conversation_stops_whatever_is_going_on():
    assert after().step(Renewed()) == [Forget()]
    assert after(Asked(LINE)).step(Renewed()) == [Stop(1), Forget()]
    assert after(Draft(1, "Hm")).step(Renewed()) == [Stop(1), Forget()]


# --- whatever happens ------------------------------------------------------------------------------------------------


class World:
    """Does what is decided, and objects where it makes no sense."""

    def __init__(self, half_duplex: bool) -> None:
        self.taking = TurnTaking(half_duplex=half_duplex)
        self.turn: int | None = None
        self.secret = False
        self.newest = 0
        self.ended: set[int] = set()

    def step(self, event: object) -> None:
        for action in self.taking.step(event):
            self.do(action)
        state = self.taking.state
        assert isinstance(state, Quiet) == (self.turn is None)
        assert isinstance(state, Secret) == (self.turn is not None and self.secret)
        assert state == Quiet() or state.turn == self.turn == self.newest

    def do(self, action: object) -> None:
        match action:
            case Begin(turn, _, secretly):
                assert self.turn is None and turn == self.newest + 1, "one turn at a time, counted up"
                self.turn, self.secret, self.newest = turn, secretly, turn
            case Reveal(turn):
                assert (turn, self.secret) == (self.turn, True)
                self.secret = False
            case Stop(turn) | Finish(turn):
                assert turn == self.turn and (isinstance(action, Stop) or not self.secret)
                self.ended.add(turn)
                self.turn = None


def anything(chance: random.Random, world: World) -> object:
    """An event, of an utterance or turn that may be long over."""
    utterance, text = chance.randint(1, 4), chance.choice(("Who", "Who are you?", "Stop"))
    return chance.choice(
        (
            UserSpeaking(utterance, 1.0, chance.random() < 0.5),
            Draft(utterance, text),
            DraftWithdrawn(utterance),
            final(utterance, text),
            NotUnderstood(uttered(utterance)),
            Asked(LINE),
            Spoken(chance.randint(0, world.newest + 1)),
            Spoken(world.newest),
            Muted(chance.random() < 0.5),
            Pushed(chance.random() < 0.5),
            Renewed(),
        )
    )


@pytest.mark.parametrize("half_duplex", [False, True])
def test_in_a_thousand_random_orders_there_is_one_turn_and_never_a_deadlock(half_duplex):
    for seed in range(1000):
        chance, world = random.Random(seed), World(half_duplex)
        for _ in range(40):
            world.step(anything(chance, world))
        for event in (Muted(False), Pushed(False), Spoken(world.newest), final(99, "Still there?")):
            world.step(event)
        assert world.turn is not None, "whoever asks is answered"
        world.step(Spoken(world.newest))
        assert world.turn is None and world.taking.hearing is Hearing.OPEN


# --- a server that is lost -------------------------------------------------------------------------------------------

APOLOGY = "broken_off"


def opening_after(*events: object) -> object:
    """What is asked of the next server."""
    actions = after(*events).step(Found())
    return actions[-1].opening if actions else None


def test_a_question_of_whose_answer_nothing_was_heard_is_asked_again():
    assert opening_after(Asked(LINE), Lost()) is LINE
    assert opening_after(final(1, "Who?"), Lost()).text == "Who?"


def test_what_was_heard_in_part_is_apologised_for():
    assert opening_after(Asked(LINE), Lost(heard=True)).phrase == APOLOGY


def test_an_answer_that_is_all_there_goes_on_and_nothing_is_asked():
    taking = after(Asked(LINE), Lost(complete=True))
    assert taking.state == Answering(1) and taking.step(Found()) == []
    assert taking.step(Spoken(1)) == [Finish(1)]


def test_a_question_that_kills_is_asked_twice_and_no_more():
    taking, said = after(Asked(LINE)), []
    for _ in range(4):
        taking.step(Lost())
        said += [action.opening for action in taking.step(Found())]
    assert [getattr(opening, "phrase", opening) for opening in said] == [LINE, APOLOGY]


def test_the_newest_question_waits_for_a_server():
    assert opening_after(Asked(LINE), Lost(), final(1, "Who?"), final(2, "And why?")).text == "And why?"
    assert opening_after(Lost(), Draft(1, "Who"), Asked(LINE)) is LINE
    assert opening_after(Asked(LINE), Lost(), Renewed()) is None


def test_a_secret_answer_is_lost_without_a_trace():
    taking = after(Draft(1, "Who?"))
    assert taking.step(Lost()) == [Stop(1)] and taking.step(Found()) == []
