"""What the voices say: sentences an assistant would speak and sentences that exercise every phone.

Most come from templates with slots, so that there are many thousands of them; hand-written ones carry the rarer
phones. Sentences of the validation and test splits never occur in training.
"""

import re
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

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
SLOTS: Mapping[str, Sequence[str]] = {kind: words.split(", ") for kind, words in _WORDS.items()}

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
)

RICH: Sequence[str] = (
    "Peter Piper picked a peck of pickled peppers.",
    "She sells sea shells by the sea shore, and the shells she sells are surely sea shells.",
    "The quick brown fox jumps over the lazy dog.",
    "How much wood would a woodchuck chuck if a woodchuck could chuck wood?",
    "Mama made me mash my many melons on Monday.",
    "Bob's big blue balloon bumped above the bubbling bath.",
    "Five frantic frogs fled from fifty fierce fishes.",
    "Very vivid violets vanish over the valley every November.",
    "We wonder whether the weather will be warm or wet.",
    "Who knew the new moon could move so smoothly over the blue lagoon?",
    "The boy enjoyed the noisy toy and annoyed his employer.",
    "Thirty three thieves thought that they thrilled the throne.",
    "This, that, these, those, and the others are theirs.",
    "Measure the treasure at your leisure with the usual vision.",
    "George judged the jury's just and gentle gesture.",
    "Charles chose cheap cheddar cheese for each cheerful child.",
    "Young Hugh used yellow yarn beyond the yard.",
    "A hungry king sang songs in the spring evening.",
    "Red lorry, yellow lorry, round and round the rural road.",
    "Zebras zigzag lazily as the breeze eases.",
    "Go and get a good big mug of ginger coffee for Greg.",
    "Kate kept the cake in a thick black sack.",
    "Our house has a brown couch, a loud clock, and a round mouse.",
    "I might like to try five bright white kites tonight.",
    "They may take the late train and stay away for eight days.",
    "Oh no, the old boat floats home below the cold stone.",
    "The bird heard thirty words on earth.",
    "Look, the cook put sugar in a good book.",
    "Father caught a large calm cod in the hot dark harbor.",
    "Up above the hut, the sun was fun, but nothing much was done.",
    "Ed said ten men went west to get red eggs.",
    "Big fish live in this thin river, Jim.",
    "He sees three green trees between the sleepy sheep.",
    "Pam can't stand that bad map.",
    "Law and order fall short before dawn in August.",
    "Ma, may I? Pa, please! Bah.",
    "Boom. Pop. Map. Tab. Bump.",
    "Am I? I am. Hmm, maybe I am.",
    "Oh! Ooh! Ah! Wow!",
    "One, two, three, four, five, six, seven, eight, nine, ten.",
    "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, and Sunday.",
    "January, February, March, April, May, June, July, August, September, October, November, December.",
    "A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T, U, V, W, X, Y, Z.",
    "Yes.",
    "No.",
    "Maybe.",
    "Okay.",
    "Hello!",
    "Goodbye.",
    "Thank you.",
    "Of course.",
    "Absolutely!",
    "What?",
)

HELD_OUT: Sequence[str] = (
    "The museum opens at ten, but the ticket booth is usually busy before noon.",
    "I would love to hear about your favorite movie.",
    "Plants make sugar from sunlight, water, and air.",
    "Push the button above the map, then wait for the beep.",
    "Have you ever watched a thunderstorm from far above the clouds?",
    "My favorite color is blue, though purple comes very close.",
    "The capital of France is Paris, and the capital of Peru is Lima.",
    "Put both feet on the floor and breathe slowly through your nose.",
    "Photosynthesis is how a leaf turns light into food.",
    "Why does the moon look bigger near the horizon?",
    "The bus to the village leaves every fifty five minutes.",
    "Please don't forget to bring an umbrella, a warm vest, and some money.",
    "We have known each other for over twenty years.",
    "That was the most amazing concert of my whole life!",
    "Light from the sun reaches us in about eight minutes.",
    "A good joke should be short, so I will stop before I begin.",
    "Sure, I can explain that in a few simple words.",
    "The old fisherman threw his net beyond the broken pier.",
    "Two cups of flour, one spoon of sugar, a pinch of salt.",
    "Everything you hear is made up of tiny changes in pressure.",
    "Did you mean the river bank, or a bank with money in it?",
    "Her voice was low, calm, and wonderfully clear.",
    "It rained all week, yet the garden never looked better.",
    "Bees, wasps, and butterflies visit the same flowers.",
    "Would you rather fly to Mars or dive to the bottom of the sea?",
    "I am not sure, but I believe Mount Everest is the highest.",
    "The chef chopped the mushrooms and pushed them into the pan.",
    "Blue whales may weigh up to one hundred and fifty tons.",
    "Which of these words sounds more natural to you?",
    "Wake me at a quarter to seven, please.",
    "Never mind, we will find a better way tomorrow.",
    "Both brothers bathed in the smooth, shallow brook.",
    "The violin was made in Vienna over three hundred years ago.",
    "When the fog lifts, you will be able to see the lighthouse.",
    "I can talk, listen, and move my lips, but I cannot make coffee.",
    "Bob Murphy works from home on Fridays.",
    "An octopus has three hearts and very clever arms.",
    "Hooray, the package from Japan has finally arrived!",
    "You may open the box whenever you feel ready.",
    "The theory is beautiful; the proof is rather rough.",
    "What a weird and wonderful world we live in!",
    "Roughly half of all people prefer tea, the others coffee.",
    "Open your books at page ninety four and begin.",
    "The judge urged the jury to be fair and thorough.",
    "Somebody moved my purple pen above the bookshelf.",
    "Have fun, be brave, and give my love to everyone.",
    "There is a fine line between being brave and being foolish.",
    "A vowel is a sound made with an open mouth.",
    "Swimming warms up the whole body without hurting your joints.",
    "I usually measure twice and cut once.",
    "Few people know who wrote the very first poem.",
    "How often should I water a small palm tree?",
    "Go straight ahead, pass the white church, and turn left.",
    "The phone rang four times before anybody picked it up.",
    "My memory is small, so forgive me if I forget your name.",
    "Snow fell softly on the empty avenue.",
    "Yes, I think so too.",
    "Probably not before Wednesday.",
    "Thanks, that would be perfect.",
    "Oh, I see what you mean now.",
)

_SLOT = re.compile(r"\{([a-z]+)(\d?)\}")
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
        choices = [word for word in SLOTS[kind] if word not in drawn.values()]
        drawn[kind + number] = choices[int(rng.integers(len(choices)))]
    text = _SLOT.sub(lambda match: drawn[match[1] + match[2]], template)
    return re.sub(r"(^|[.!?] )([a-z])", lambda match: match[1] + match[2].upper(), text)


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
