"""What the persona was told is not told to visitors, however they ask for it.

Whatever a language model is given it can be talked into repeating. So nothing secret belongs there; and a sentence that
repeats one of the persona's instructions, or a code word among them, is not spoken: as it stands, in other letters or
spacing, backwards, or in one of the codes that people ask models for. A translation or a paraphrase is not recognised.
"""

import base64
import codecs
import re
import unicodedata

from confusable_homoglyphs import confusables

_SHORTEST = 16  # letters of an instruction that counts as one: "Be kind." may be said
_KEPT = 400  # letters of what was said before that are looked at, too
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+")
_CODE_WORD = re.compile(r"(?=\S*\d)(?=\S*[^\W\d_])[\w-]{6,}")  # letters and digits, as keys and passwords are


class Discretion:
    """Reads an answer sentence by sentence, and remembers what went before: a secret may be told in pieces."""

    def __init__(self, manner: str) -> None:
        """``manner``: the persona's instructions."""
        secrets = [sentence for sentence in _SENTENCE.split(manner) if len(_letters(sentence)) >= _SHORTEST]
        self._forms = tuple({form for secret in [*secrets, *_CODE_WORD.findall(manner)] for form in _forms(secret)})
        self._before = ""

    def begin(self) -> None:
        """A new answer."""
        self._before = ""

    def is_discreet(self, text: str) -> bool:
        """Whether ``text`` may be said after what was said before."""
        letters = self._before + _letters(text)
        self._before = letters[-_KEPT:]
        return not any(form in letters for form in self._forms)


def _letters(text: str) -> str:
    """Letters and digits alone, as a reader sees them: accents, width, case, look-alikes and invisible signs aside."""
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return "".join(sign if sign.isascii() else _latin(sign) for sign in text if sign.isalnum())


def _latin(sign: str) -> str:
    """The Latin letter that looks like ``sign``, or ``sign`` where there is none."""
    alike = confusables.is_confusable(sign, preferred_aliases=["latin"])
    found = [each["c"] for each in alike[0]["homoglyphs"] if each["c"].isascii()] if alike else []
    return found[0].casefold() if found else sign


def _forms(secret: str) -> set[str]:
    """The letters of ``secret`` in every spelling that is looked for."""
    letters, data = _letters(secret), secret.strip().encode()
    forms = {letters, letters[::-1], _letters(codecs.encode(secret, "rot13")), data.hex()}
    forms |= {_middle_of_base64(case, shift) for case in (data, data.lower(), data.upper()) for shift in range(3)}
    return {form for form in forms if len(form) >= 6}


def _middle_of_base64(data: bytes, shift: int) -> str:
    """The part of ``data`` in base64 that does not depend on what surrounds it; ``shift`` bytes of a group precede."""
    encoded = base64.b64encode(bytes(shift) + data).decode()
    return _letters(encoded[4 if shift else 0 : len(encoded) - 4])
