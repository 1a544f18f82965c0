"""The verdict on one long answer."""

from dataclasses import replace

from demo.measure.answer import Answer
from demo.trace import SessionTrace, TurnTrace


def turn(**what):
    fields = {"audio_seconds": 60.0, "frames_rendered": 1500, "generation_speed": 4.0}
    return TurnTrace(2, av_offset_ms={"p5": -6.0, "p50": 0.0, "p95": 1.0, "max_abs": 9.0}, **(fields | what))


def test_the_longest_turn_of_the_trace_is_judged():
    trace = SessionTrace(turns=[TurnTrace(1, audio_seconds=3.0), turn()]).to_dict()
    answer = Answer.of_trace(trace)
    assert answer == Answer(60.0, 0, 25.0, 4.0, (-6.0, 0.0, 1.0)) and answer.kept
    assert "25.0 frames" in answer.sentence()


def test_each_goal_counts():
    good = Answer.of_trace(SessionTrace(turns=[turn()]).to_dict())
    assert not replace(good, underruns=1).kept
    assert not replace(good, drawn_a_second=19.9).kept
    assert not replace(good, generation_speed=1.4).kept
    assert not Answer.of_trace(SessionTrace(turns=[turn(generation_speed=None)]).to_dict()).kept
