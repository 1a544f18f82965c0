"""What the voices say: sentences an assistant would speak and sentences that exercise every phone.

Most come from templates with slots, so that there are many thousands of them; hand-written ones carry the rarer
phones. Sentences of the validation and test splits never occur in training.
"""

import re
import zlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from streamingtalker.data import vocabulary
from streamingtalker.data.written import HELD_OUT, RICH

_WORDS: Mapping[str, str] = {
    "name": (
        "Maya, Bob, Pamela, Thomas, Fiona, Wolfgang, Joyce, Victor, Priya, Matthew, Zoe, George, Ruth, Beth, "
        "Hugo, Owen, Sheila, Chuck, Yusuf, Amber, Philip, Gwen, Oscar, Judy, Heather, Ivan, Eve, Boris, Mabel, "
        "Ethan"
    ),
    "surname": "Smith, Brown, Whitaker, Bloom, Murphy, Young, Fisher, Patel, Chow, Jefferson, Goldberg, Moore",
    "place": (
        "Boston, Paris, Tokyo, Vienna, Mumbai, Cape Town, Oxford, Beijing, Venice, Geneva, Houston, Warsaw, "
        "Buenos Aires, Lisbon, Hamburg, Washington, Philadelphia, Budapest, Zurich, Nairobi"
    ),
    "food": (
        "bread and butter, mushroom soup, apple pie, a bowl of rice, fresh fish, five blue plums, warm oatmeal, "
        "peppermint tea, vegetable stew, cheese on toast, a jar of honey, spaghetti with pesto, roast beef, a "
        "fruit salad, chocolate pudding, two boiled eggs, beef with baby potatoes, a cup of coffee"
    ),
    "thing": (
        "book, window, umbrella, pump, bridge, camera, violin, map, wheel, shoe, bathroom mirror, old piano, "
        "garage, lamp, video, measuring cup, computer, yellow boat, wooden box, file, thermometer, bicycle, "
        "purple vase, jacket"
    ),
    "things": (
        "books, stamps, bubbles, waves, mushrooms, photographs, maps, wolves, numbers, feathers, jewels, matches, "
        "poems, batteries, mountains, questions, visitors, beams, voices, trophies"
    ),
    "adj": (
        "beautiful, simple, huge, famous, warm, yellow, fabulous, quiet, wooden, smooth, thick, vague, obvious, "
        "cheap, purple, poor, bumpy, usual, foggy, peaceful, joyful, wonderful, empty, precise, new, "
        "unbelievable, rough, proud"
    ),
    "verb": (
        "move, push, open, fold, watch, bring, measure, paint, improve, use, catch, shuffle, repair, visit, "
        "remember, choose, love, imagine, follow, view, put away, give back, throw out, think about"
    ),
    "animal": (
        "bumblebee, wolf, puma, buffalo, mouse, octopus, giraffe, goose, beaver, robin, shark, ox, chimpanzee, "
        "whale, python, butterfly, wombat, jaguar"
    ),
    "time": (
        "this afternoon, tomorrow morning, before lunch, on Wednesday, at half past five, in two weeks, every "
        "day, on the fourth of July, in the evening, by February, soon, on Thursday the thirtieth"
    ),
    "number": (
        "seven, twelve, fifteen, forty two, one hundred and three, nineteen eighty four, five thousand, sixty "
        "six, two point five, three quarters, eleven, eight hundred, a million, thirty three"
    ),
    "digits": (
        "four seven nine two, oh eight five one six, nine nine zero four, three five seven one, two six eight, "
        "one four five nine zero seven, five five one two"
    ),
    "unit": "meters, pounds, miles, euros, minutes, kilograms, gallons, percent, degrees, feet, dollars, hours",
    "subject": (
        "physics, music, poetry, the weather, chemistry, the moon, photography, machine learning, ancient Rome, "
        "the economy, biology, speech, geometry, film, the human voice, chess, modern art, rainbows"
    ),
    "person": (
        "my brother, the professor, your father, a young woman, her employer, the mayor, our neighbour, the "
        "judge, everybody, the pilot, a famous chef, my whole family, nobody, the boy, the bishop, your mother"
    ),
    "ask": "Could you please, Would you, Can you, Why don't you, How do I, Should we, May I, When will you",
    "cheer": "Wow, Bravo, Oh boy, Fantastic, Amazing, Good job, Oh no, Whoa, Superb, Hooray, Perfect, My goodness",
    "soft": (
        "I believe, Perhaps, Probably, As far as I know, To be fair, I suppose, Of course, Honestly, In my "
        "opinion, From what I have heard, Most people would say that"
    ),
    "job": (
        "set a timer, play some music, look up the weather, read the news, book a table, call a taxi, send the "
        "message, save the file, translate this page, make a shopping list, turn off the lamp, move the meeting"
    ),
}
SLOTS: Mapping[str, Sequence[str]] = {
    kind: [*words.split(", "), *vocabulary.WORDS.get(kind, ())] for kind, words in _WORDS.items()
}
DRAWN = {"number": vocabulary.draw_number, "digits": vocabulary.draw_digits}  # besides those of SLOTS, every other time

TEMPLATES: Sequence[str] = (
    "Hello {name}, how may I help you {time}?",
    "Good morning, {name}. What would you like to talk about?",
    "Hi, my name is {name}, and I am happy to meet you!",
    "Welcome back, {name}! Shall we go on with {subject}?",
    "Thank you very much, {name}, and goodbye for now.",
    "You're welcome. Is there anything else I can do {time}?",
    "{ask} {verb} the {adj} {thing} {time}?",
    "{ask} {job} for {name}?",
    "What is the difference between a {animal} and a {animal2}?",
    "Who was the first person to {verb} a {adj} {thing}?",
    "How many {things} are there in {place}?",
    "Where did {person} {verb} the {things}?",
    "Why is {subject} so {adj}?",
    "Which {thing} do you want, the {adj} one or the {adj2} one?",
    "Do you mean {place} or {place2}?",
    "The answer is {number}.",
    "It takes about {number} {unit} to get from {place} to {place2}.",
    "Your number is {digits}; I repeat, {digits}.",
    "The total comes to {number} {unit}, and the rest is {number2}.",
    "{number} plus {number2} is more than you might think.",
    "At the moment it is {number} {unit} in {place}, with a {adj} breeze from the west.",
    "You will need {food}, {food2} and {food3}.",
    "I found three options: the {adj} {thing}, the {thing2}, and some {things}.",
    "First, {verb} the {thing}. Then {verb2} the {things}. Finally, {verb3} everything else.",
    "On Monday we {verb}, on Tuesday we {verb2}, and on Friday we rest.",
    "{soft}, {person} should {verb} the {thing} before {name} does.",
    "{soft}, {subject} has very little to do with {subject2}.",
    "{soft}, there are {number} {things} left.",
    "{cheer}! That is a {adj} {thing}!",
    "{cheer}, you did it! I knew {person} could {verb} it.",
    "{cheer}! Look at that {adj} {animal}!",
    "Sorry, I did not catch that. Would you say it once more?",
    "I am afraid I don't know much about {subject}, but {person} might.",
    "No problem, I will {job} right away.",
    "Sure. I can {job}, or we can talk about {subject}.",
    "Doctor {surname} moved from {place} to {place2} {time}.",
    "Please give my best wishes to Mrs {surname} and to {name} {surname2}.",
    "{name} and {name2} will meet {person} {time} in {place}.",
    "{person} bought {food} and a {adj} {thing} for {number} {unit}.",
    "A {animal} and {number} {things} were seen near the {adj} bridge.",
    "The {adj} {animal} jumped over the {adj2} {thing} and vanished.",
    "I would put the {thing} by the window, move the {thing2} up, and push both {things} above the shelf.",
    "When {person} came home {time}, the {thing} was gone, the {things} were {adj}, and nobody in {place} could "
    "explain how a {animal} had found the way in.",
    "If you want to {verb} {subject}, begin with something {adj}, take your time, and don't worry about the {things}.",
    "Although {person} likes {food}, {name} would rather have {food2}, because it reminds her of {place}.",
    "Let me think about it. {subject} is a {adj} topic, so I will keep it brief.",
    "Just remember: {verb} the {thing}, never the {thing2}.",
    "Yes. {name} is in {place} {time}.",
    "No, not the {thing}, the {adj} {thing2}.",
    "Maybe {time}, maybe never.",
    "I live in a computer, I speak with a voice made of numbers, and my face follows every word.",
    "My lips move because a small network listens to the sound and imagines what {person} would do.",
    "The {animal} is {number} {unit} long and eats {food}.",
    "People in {place} often {verb} {things} {time}.",
    '{person} said, "{verb} the {thing}," and {person2} did.',
    "How about {food} {time}?",
    "It is {adj}, {adj2}, and above all {adj3}.",
    "In {number} years, {subject} may {verb} {subject2} beyond belief.",
    "{name} thought the {adj} {things} both moved through the path smoothly.",
    "Beyond {place}, {person} would measure the usual {things} with pleasure.",
    "The next words are {adj}, {thing}, {verb}, {adj2}, and {animal}.",
    "{thing}. {adj}. {verb}. {place}.",
    "Is it {adj} or {adj2}? I would say {adj3}.",
    "{surname} is spelled with {number}, no, {number2} letters.",
    "That is a great question about {subject}!",
    "Here is what I know: {subject} is {adj}, and {subject2} is even more {adj2}.",
    "Let us {verb} the {thing}, {verb2} the {thing2}, and {verb3} the {thing3}.",
    "To {verb} a {thing} you need patience; to {verb2} it you need a {thing2}.",
    "Good evening, Mrs {surname}. Your {thing} is {adj}, as always.",
    "Good night, {name}. Sleep well, and don't let the {animal} bite.",
    "How are you feeling today, {name}? {adj} or {adj2}?",
    "I feel {adj} today, thank you for asking.",
    "Did you know that {things} in {place} are {adj}?",
    "{number}, {number2}, {number3}, and so on.",
    "It was the {adj} year {number} when {surname} came to {place}.",
    "{name}, {name2}, {name3} and I went to {place} by {thing}.",
    "Turn left at the {adj} {thing}, walk {number} {unit}, and you will see {place}.",
    "There were {number} {things} in the {thing}, {number2} on the {thing2}, and none on the {thing3}.",
    "Never {verb} {things} near a {adj} {animal}.",
    "My favorite {animal} is {adj}, with {adj2} ears and {adj3} feet.",
    "Whenever {person} talks about {subject}, the {things} look {adj}, the {animal} yawns, and {name} begins to "
    "{verb} the {thing}.",
    "Once upon a time a {adj} {animal} lived in {place} with {number} {things} and a {adj2} {thing}.",
    "In short, {verb} less and {verb2} more.",
    "Excuse me, {name}, may I {verb} your {thing}?",
    "I understand. You want {person} to {verb} the {adj} {things}.",
    "Which is larger, a {animal} or a {animal2}?",
    "On the one hand it is {adj}; on the other hand, {person} will {verb} it anyway.",
    "Wait, {verb} the {thing} first!",
    "What a {adj}, {adj2} {thing}!",
    "I am so sorry to hear that, {name}. {subject} can be {adj}.",
    "Congratulations, {name} {surname}! {person} must be {adj}.",
    "{place}, {place2}, {place3}: which would you choose?",
    "According to {surname} and {surname2}, {things} {verb} {things2}.",
    "Step one, {verb} the {things}. Step two, {verb2} them. Step three, {verb3} the {thing}.",
    "The {thing} costs {number} {unit}, the {thing2} only {number2}.",
    "Do {things} {verb} {things2}, or do {things2} {verb} {things}?",
)

_SLOT = re.compile(r"\{([a-z]+)(\d?)\}")
_A_BEFORE_VOWEL = re.compile(r"\b([Aa])(?= ([aeio](?!ne )|u(?![ns][ui]|ti)))")
SPLITS = ("train", "val", "test")


def split_of(sentence: str) -> str:
    """The split a sentence belongs to, told from its letters alone: of ten, eight train, one validates, one tests."""
    if sentence in RICH:
        return "train"
    bucket = zlib.crc32(re.sub(r"\W+", " ", sentence).lower().encode()) % 10
    if sentence in HELD_OUT:
        return "val" if bucket < 3 else "test"
    return {0: "val", 1: "test"}.get(bucket, "train")


def fill(template: str, rng: np.random.Generator) -> str:
    """The template with its slots filled; slots of the same kind get different words."""
    drawn: dict[str, str] = {}
    for kind, number in _SLOT.findall(template):
        if kind + number in drawn:
            continue
        drawn[kind + number] = _draw_word(kind, drawn.values(), rng)
    text = _SLOT.sub(lambda match: drawn[match[1] + match[2]], template)
    text = _A_BEFORE_VOWEL.sub(r"\1n", text)
    return re.sub(r"(^|[.!?] )([a-z])", lambda match: match[1] + match[2].upper(), text)


def _draw_word(kind: str, taken: Collection[str], rng: np.random.Generator) -> str:
    if kind in DRAWN and rng.random() < 0.5:
        return DRAWN[kind](rng)
    choices = [word for word in SLOTS[kind] if word not in taken]
    return choices[int(rng.integers(len(choices)))]


def draw_sentence(split: str, rng: np.random.Generator) -> str:
    """A sentence of the split, by turns from templates and from the hand-written ones."""
    written = RICH if split == "train" else [s for s in HELD_OUT if split_of(s) == split]
    if rng.random() < (0.12 if split == "train" else 0.5):
        return written[int(rng.integers(len(written)))]
    while True:
        sentence = fill(TEMPLATES[int(rng.integers(len(TEMPLATES)))], rng)
        if split_of(sentence) == split:
            return sentence


def draw_text(split: str, rng: np.random.Generator) -> str:
    """One to three sentences of the split, as an utterance of an assistant."""
    count = 1 + int(rng.choice(3, p=[0.7, 0.22, 0.08]))
    return " ".join(draw_sentence(split, rng) for _ in range(count))
