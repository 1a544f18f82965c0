"""The server over a real socket on loopback, with stand-ins for the engines."""

import asyncio

from demo.messages import UserText
from tests.server_fakes import check_turn, client, make_engines, of, served
from demo.messages import *


def test_a_question_is_answered_with_sound_and_frames():
    async def main():
        engines = make_engines(["Hel", "lo. ", "How are", " you?"])
        async with served(engines) as url, client(url) as me:
            assert me.welcome == Welcome(PROTOCOL, "tiny", 5, 30.0, 24_000, engines.names())
            await me.send(UserText(1, "Hi!"))
            messages = await me.until(TurnEnd)
            end = check_turn(messages, 1)
            assert end.reply == "Hello. How are you?"
            assert list(end.spans_ms) == ["llm_first_token", "llm_first_sentence", "tts_first_audio", "first_frame"]
            assert [text.text for text in of(messages, ReplyText)] == ["Hello.", "How are you?"]

    asyncio.run(main())
