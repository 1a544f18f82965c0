"""All that lies over the picture, made anew only where it changes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from demo.look import features
from demo.overlay.meter import Reading
from demo.overlay.panels import Rows, figures_panel, help_screen
from demo.overlay.patch import Patch
from demo.overlay.signs import meter_sign, notice_line, sign_size, state_sign
from demo.overlay.speech import Place, Reply, lower_edge, user_box

_KEPT = 32  # pictures of the level meter, of which there are few


@dataclass(frozen=True)
class Captions:
    """What the overlay says; what is empty is not shown."""

    state: str = "idle"  # idle, listening, hearing, thinking or speaking
    user: str = ""  # what the user said, or seems to be saying
    reply: str = ""  # the sentence being spoken
    spoken: int | None = None  # letters of it, spaces left out, whose words were begun; None: all
    notice: str = ""  # a line for the operator
    microphone: Reading | None = None  # None where there is none
    figures: Rows = ()  # what was measured: names and values
    keys: Rows = ()  # what the keys do: their names and help


class Overlay:
    """Turns captions into patches, and remembers them until something changes."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[object, Patch | None]] = {}  # by place: what it was made of, and the patch
        self._meters: dict[object, Patch] = {}
        self._reply: tuple[object, Reply] | None = None

    def patches(self, captions: Captions, width: int, height: int) -> list[Patch]:
        """The images for ``captions`` over a picture of ``width`` x ``height`` pixels."""
        signs = self._signs(captions, width, height)
        keys = captions.keys
        made = [*signs, *self._speech(captions, lower_edge(width, height))]
        made.append(self._once("keys", (keys, width, height), lambda: help_screen(keys, width, height)))
        return [patch for patch in made if patch is not None]

    def _signs(self, captions: Captions, width: int, height: int) -> list[Patch | None]:
        size, frame = sign_size(width, height), (width, height)
        sign = self._once("state", (captions.state, size), lambda: state_sign(captions.state, size))
        below = size + round(2.3 * size)
        meter = self._meter(captions.microphone, size, below if sign else size)
        corner = [patch for patch in (sign, meter) if patch is not None]
        taken = max((patch.right for patch in corner), default=0), max((patch.bottom for patch in corner), default=0)
        notice = self._once(
            "notice", (captions.notice, frame, taken), lambda: notice_line(captions.notice, width, height, *taken)
        )
        left = features(width, height).left
        top = max((patch.bottom for patch in (*corner, notice) if patch and patch.left < left), default=0) + size // 2
        figures = self._once(
            "figures", (captions.figures, frame, top), lambda: figures_panel(captions.figures, width, height, top)
        )
        return [sign, meter, notice, figures]

    def _meter(self, reading: Reading | None, size: int, top: int) -> Patch | None:
        """It changes often, between few pictures: all are kept."""
        if reading is None:
            return None
        key = (reading, size, top)
        if key not in self._meters:
            if len(self._meters) >= _KEPT:
                self._meters.clear()
            self._meters[key] = meter_sign(reading.lit, reading.trouble, size, top)
        return self._meters[key]

    def _speech(self, captions: Captions, place: Place) -> list[Patch | None]:
        reply = self._sentence(captions, place)
        floor = reply.top - place.gap if captions.reply else place.floor
        above = replace(place, floor=floor)
        words = (captions.user, bool(captions.reply), above)
        return [self._once("user", words, lambda: user_box(*words)), reply.patch(captions.spoken)]

    def _sentence(self, captions: Captions, place: Place) -> Reply:
        made_of = (captions.reply, bool(captions.user), place)
        if self._reply is None or self._reply[0] != made_of:
            self._reply = (made_of, Reply(*made_of))
        return self._reply[1]

    def _once(self, place: str, made_of: object, make: Callable[[], Patch | None]) -> Patch | None:
        known = self._made.get(place)
        if known is None or known[0] != made_of:
            known = self._made[place] = (made_of, make())
        return known[1]
