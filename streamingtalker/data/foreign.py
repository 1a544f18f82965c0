"""Other languages than English to test a face on: ``python -m streamingtalker.data.foreign --out corpus-languages``.

Sentences in German, French, Spanish, Mandarin and Korean, spoken by espeak-ng in two voices each, in the layout of the
corpus and of its test split alone. ``python -m streamingtalker.evaluate --articulation --data corpus-languages`` then
measures lips and closures voice by voice. The face was never trained on any of them.

Phones of these languages are put into the one inventory by what the lips do: the French u is a rounded vowel, a German
or French r moves no lip, a Spanish b between vowels closes none.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from streamingtalker.data import augment
from streamingtalker.data.clips import PlannedClip, Sound
from streamingtalker.data.coarticulation import STYLES
from streamingtalker.data.engines import EspeakEngine, Manner
from streamingtalker.data.pauses import fit_pauses
from streamingtalker.data.phones import IPA, from_ipa, merge_silences, with_stress
from streamingtalker.data.speakers import cover, find_voice
from streamingtalker.data.synthetic import Job, make_clip, write_manifest, write_sound
from streamingtalker.errors import command_line
from streamingtalker.topology import DEFAULT_AVATAR, load_rig

# What the alphabets of espeak's other voices mean for the lips, over the English table.
LIPS = {
    "r": "d", "ʁ": "hh", "χ": "hh", "ʀ": "hh", "ɥ": "w", "ɲ": "n y", "ʎ": "l y", "ʝ": "y", "β": "hh", "ɸ": "f",
    "ʂ": "sh", "ɕ": "sh", "tɕ": "ch", "dʑ": "jh", "tʂ": "ch", "ʑ": "zh", "ʐ": "r", "ɟ": "jh", "c": "k", "q": "k",
    "ɯ": "ih", "ɨ": "ih", "ɤ": "ax", "ɐ": "aa", "ɜ": "ax", "ɚ": "ax", "əɹ": "ax r", "y": "uw", "ʏ": "uw", "ɭ": "l",
    "ɴ": "ng", "s.": "sh", "ts.": "ch", "z.": "r", "i.": "ih",
}  # fmt: skip
VOICES: Mapping[str, tuple[str, str]] = {
    "german": ("de", "de"), "german2": ("de", "de+f2"), "french": ("fr", "fr"), "french2": ("fr", "fr+f2"),
    "spanish": ("es", "es"), "spanish2": ("es", "es+f2"), "mandarin": ("zh", "cmn-latn-pinyin"),
    "mandarin2": ("zh", "cmn-latn-pinyin+f2"), "korean": ("ko", "ko"), "korean2": ("ko", "ko+f2"),
}  # fmt: skip
SENTENCES: Mapping[str, tuple[str, ...]] = {
    "de": (
        "Bitte kommen Sie heute früher ins Museum.", "Meine Mutter backt am Abend warmes Brot.",
        "Der Baum vor dem Bahnhof verliert seine Blätter.", "Wir wollen im Sommer ans blaue Meer fahren.",
        "Papa pumpt Luft in den platten Reifen.", "Am Montag beginnt bei uns die Probe.",
        "Die Bäume blühen, und die Vögel pfeifen.", "Möchten Sie einen Becher Milch oder Apfelsaft?",
        "Das Mammut lebte in der kalten Steppe.", "Peter öffnet behutsam die braune Mappe.",
        "Im Winter fällt viel Schnee auf die Berge.", "Ein Blauwal ist größer als jeder Saurier.",
    ),
    "fr": (
        "Bonjour, je voudrais un bon pain blanc.", "Ma mère prépare une bonne soupe aux pommes.",
        "Le petit bateau bleu part pour une île.", "Il pleut beaucoup en juin sur la montagne.",
        "Mon papa parle avec le boulanger du village.", "Vous pouvez venir à midi au musée.",
        "La baleine bleue est un animal énorme.", "Nous buvons du thé avant la promenade.",
        "Un peuple heureux aime la musique et la fête.", "Pouvez-vous fermer la porte, je vous prie ?",
        "Les oiseaux bâtissent un nid dans le pommier.", "Demain nous verrons un film au cinéma.",
    ),
    "es": (
        "Buenos días, mi perro bebe mucha agua.", "La madre prepara una sopa para el bebé.",
        "El pueblo pequeño está muy bonito en mayo.", "Mi amigo compra pan blanco en el mercado.",
        "También puedo empezar mañana por la mañana.", "La ballena azul es un animal enorme.",
        "El hombre abre la puerta y baja a la playa.", "Pablo pinta un mapa grande del mundo.",
        "En el campo hay manzanas, peras y tomates.", "Nuestro museo abre todos los días menos el lunes.",
        "¿Puedes venir conmigo a bailar esta noche?", "Un pájaro vuela sobre el bosque verde.",
    ),
    "zh": (  # in pinyin: espeak-ng's data lacks the characters' pronunciation in many installations
        "ni3 hao3, wo3 men jin1 tian1 qu4 bo2 wu4 guan3.", "ma1 ma5 mai3 ping2 guo3 he2 mian4 bao1.",
        "ba4 ba5 pao3 bu4, mei4 mei5 pa2 shan1.", "peng2 you5 men5 ming2 tian1 bu4 mang2.",
        "wo3 mei2 you3 bai2 se4 de5 mao4 zi5.", "ta1 bu4 pa4 ma3, pa4 bao4 zi5.",
        "mei3 ge4 ban4 yue4 fang4 yi1 bu4 dian4 ying3.", "qing3 ba3 men2 da3 kai1, bu4 yao4 bang1 mang2.",
        "lan2 jing1 shi4 zui4 da4 de5 dong4 wu4.", "bei3 bian1 de5 feng1 bi3 nan2 bian1 de5 leng3.",
        "nai3 nai5 mai4 bao1 zi5 he2 mi3 fan4.", "wo3 fu4 mu3 dou1 xi3 huan5 pu2 tao5.",
    ),
    "ko": (
        "안녕하세요, 오늘 박물관에 가고 싶어요.", "엄마는 밥을 먹고 아빠는 물을 마셔요.",
        "봄바람이 불면 나무가 푸르게 변합니다.", "바다에는 푸른 고래가 많이 살아요.",
        "내일 아침 버스를 타고 부산에 가요.", "맘모스는 추운 벌판에서 살았습니다.",
        "비빔밥과 김밥을 모두 좋아해요.", "우리 마을 앞에는 넓은 풀밭이 있어요.",
        "표를 사려면 입구 옆으로 가세요.", "보물 지도를 펴 보면 길이 보입니다.",
        "밤마다 하늘에 별이 반짝입니다.", "무엇을 물어보고 싶으신가요?",
    ),
}  # fmt: skip

_TABLE = IPA | LIPS
_SYMBOL = re.compile("|".join(sorted(_TABLE, key=len, reverse=True)) + "|.", re.DOTALL)


def read_lips(symbols: str) -> list[str]:
    """The phones of IPA ``symbols`` of another language, by what the lips do. Raises ValueError as ``from_ipa``."""
    names: list[str] = []
    for symbol in _SYMBOL.findall(symbols):
        names += _TABLE[symbol].split() if symbol in _TABLE else [] if symbol.isdigit() else from_ipa(symbol)
    return names


def speak(voice: str, text: str) -> Sound:
    """``text`` spoken by one of VOICES, at 16 kHz. Raises SpeakerError where espeak-ng is missing."""
    speech = EspeakEngine(VOICES[voice][1], read_lips).speak(text, Manner())
    offset = find_voice("espeakus").label_offset  # the engine's own, whatever it speaks
    phones = fit_pauses(cover(with_stress(speech.phones, ""), -offset, speech.seconds), speech.pcm, speech.rate)
    pcm = augment.record(speech.pcm, speech.rate, augment.Recording(), np.random.default_rng(0))
    return Sound(pcm, tuple(merge_silences(phones)))


def plan(voices: Sequence[str]) -> Iterator[PlannedClip]:
    """Each sentence in each voice of its language."""
    for index, voice in enumerate(voices):
        for number, text in enumerate(SENTENCES[VOICES[voice][0]], 1):
            style = (number + index) % len(STYLES)
            yield PlannedClip(f"{voice}_sentence{number:04d}", voice, "test", style, text, (index, number))


def make(out: Path, voices: Sequence[str] = tuple(VOICES)) -> None:
    """Write the corpus. Raises SpeakerError."""
    job, rig = Job(out, DEFAULT_AVATAR, vertices=False), load_rig(DEFAULT_AVATAR)
    for kind in ("wav", "phones", "weights"):
        job.path(kind, "x").parent.mkdir(parents=True, exist_ok=True)
    entries = []
    for clip in plan(voices):
        write_sound(speak(clip.voice, clip.text), job.path("wav", clip.name), job.path("phones", clip.name))
        entries.append(make_clip(clip, job))
    np.savez(out / "templates.npz", **dict.fromkeys(voices, rig.topology.template))  # type: ignore[arg-type]
    minutes = sum(float(str(entry["seconds"])) for entry in entries) / 60
    write_manifest(out, entries, rig, minutes, seed=0)


@command_line
def main(argv: list[str] | None = None) -> int:
    """The command line; status 2 where the user has to mend something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("corpus-languages"))
    parser.add_argument("--voices", nargs="+", choices=tuple(VOICES), default=tuple(VOICES), metavar="NAME")
    options = parser.parse_args(argv)
    make(options.out, options.voices)
    print(f"{options.out} holds {len(list(plan(options.voices)))} sentences in {len(options.voices)} voices.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
