"""Words for the slots of the templates, so that a sentence seldom says what another has said.

Everyday words of one to four syllables, with clusters, diphthongs and all the rarer sounds among them.
"""

from collections.abc import Mapping, Sequence

import numpy as np

_WORDS: Mapping[str, str] = {
    "name": """
        Aisha Alice Andrew Angela Anthony Arthur Barbara Benjamin Bethany Brian Bruce Camille Carmen Caroline Charlotte
        Chloe Christopher Clara Claude Daphne David Deborah Dennis Diego Dorothy Dwight Edith Edward Eileen Elaine
        Elizabeth Emily Eugene Faith Felix Florence Francis Frederick Gabriel Geoffrey Gerald Giovanni Gloria Grace
        Gregory Hannah Harvey Hazel Helen Henry Howard Irene Isabel Jack Jacob Jasmine Jeremy Jerome Joanna Jonathan
        Joseph Joshua Joy Juan Julia Karl Katherine Keith Kenneth Kevin Laura Lawrence Leonard Lewis Lily Louis Lucy
        Luke Margaret Martha Mercy Michelle Mohammed Monique Nadia Nathan Neil Nicholas Nigel Noah Nora Olga Olivia
        Omar Patrick Paul Penelope Peter Quentin Rachel Ralph Raymond Rebecca Richard Robert Roger Rosemary Roy Samuel
        Sarah Sebastian Sophia Stephanie Steven Susan Sylvia Thelma Theodore Timothy Trevor Valerie Vincent Violet
        Walter Wanda William Winifred Yolanda Yvonne Zachary""",
    "surname": """
        Abbott Adams Armstrong Bailey Barnes Bishop Burton Campbell Carver Chapman Church Clark Collins Cooper Cox
        Crawford Davenport Dixon Edwards Evans Ferguson Fleming Fletcher Forbes Gibson Grant Griffith Hawthorne
        Higgins Hoffman Howell Hughes Jackson Jenkins Keller Knight Lambert Lloyd Marshall Matthews Mitchell Newton
        Nguyen Olsen Palmer Parker Peterson Price Quinn Roberts Rodriguez Sawyer Schwartz Sharp Shaw Singh Sullivan
        Thompson Thornton Turner Underwood Vaughn Wagner Walsh Watkins Webb Wheeler Wong Woodruff Wright Zimmerman""",
    "thing": """
        alarm anchor apron arrow badge balloon banjo basket bathtub bell belt bench blanket bottle bracelet brick broom
        brush bucket cabinet candle canvas carpet chair chalk chimney clock coat compass couch cradle crown cube cushion
        desk diamond dish doorknob drawer drill drum engine envelope fan fence flag flashlight flute fork fountain
        freezer glove guitar hammer hammock handle harp hat helmet hinge hook jar jug keyboard kite knife ladder lantern
        lever lock magnet mattress medal microphone microwave mop mug napkin necklace needle notebook oar oven paddle
        parachute pearl pebble pencil pillow pipe plate plug pocket poster pouch pulley puzzle quilt radio raft razor
        ribbon ring robe rope rug ruler saddle scarf scissors screw shelf shield shovel skateboard sled sock sofa spoon
        sponge stool stove suitcase sword syringe table telescope tent throne toaster toothbrush torch towel toy tray
        trumpet trunk tube typewriter valve van vest wagon wallet watch whip whistle wire wrench zipper""",
    "things": """
        acorns apples arguments biscuits blossoms bridges bruises candles carrots castles chairs cherries children
        choices cities clouds coins crayons cushions dishes doors dreams eagles earrings elephants essays eyebrows
        facts flames flutes footprints forks fossils games gloves graves habits hedges horses ideas insects islands
        jokes judges keys kings lawyers leaves lessons letters lights lions lungs measures messages mirrors mistakes
        months muscles myths nails nights noises notes oaths oceans onions oysters packages paths peaches pictures
        planets plans plates potatoes prayers prizes problems pyramids rabbits rivers roads robots rooms roses rules
        sandwiches saucers seasons secrets shadows sheep ships shops showers smiles songs spoons squirrels stories
        strawberries strings sunflowers surgeons switches tables teachers teeth theories threads thumbs tongues tools
        towers toys trains truths turtles twins vegetables villages violins vitamins wages walls watches weeks whispers
        wings wishes words worms years youths""",
    "adj": """
        able absurd active ancient angry annoying anxious available average awful awkward bare bitter blank bleak blind
        bold boring brave brief bright brittle broad calm careful casual charming cheerful childish chubby clean clever
        cloudy clumsy coarse cold comfortable common complex cool crazy crisp cruel curious curved cute damp dangerous
        dark dear deep delicious dense different difficult dirty dizzy double dry dull eager early easy elegant enormous
        equal exact excellent faint fair faithful false familiar fancy fast fat favorite feeble fierce final firm flat
        foolish fragile free frequent fresh friendly frozen funny fuzzy generous gentle giant glad golden gorgeous grand
        gray great green grumpy handy happy hard harsh healthy heavy helpful hollow honest horrible humble humid hungry
        icy ideal important impossible innocent jealous jolly juicy keen kind large lazy light likely little lively
        local lonely long loose loud lovely low loyal lucky major mature mean medium mellow mild modern muddy narrow
        nasty natural neat necessary nervous nice noisy normal odd orange ordinary outrageous pale past patient perfect
        physical plain pleasant polite popular possible powerful private prompt pure quick rapid rare raw ready real
        reasonable red regular remarkable rich ripe rude rusty sad safe salty scary serious shallow sharp shiny short
        shy silent silly silver sleepy slippery slow sly small smart soft solid sour special spicy splendid square stale
        steady steep sticky stiff straight strange strict strong stupid subtle sudden sweet swift tall tame tasty tender
        terrible thin thirsty thorough tidy tight tiny tired tough tricky true typical ugly unique unusual upset useful
        valuable various vast vicious visible weak wealthy weird wet white wicked wide wild wise worthy young""",
    "verb": """
        accept admire advise analyze announce approve arrange avoid bake balance bless blow borrow bounce break brush
        build bury buy call carry carve celebrate chew choose clean climb collect compare complete confuse consider
        control cook copy count cover crack cross crush decorate deliver describe destroy discover divide draw drag
        drive drop dust earn encourage enjoy examine exchange expect explain explore fetch fight find finish fix forget
        forgive freeze gather grab greet grow guard guess handle hang heat hide hire hit hold hug hunt hurt ignore
        inspect invent invite judge juggle keep kick know launch lay lead leave lend lift lock lose manage mark melt
        mention mix name notice obey offer order organize own pack pass pay pick plan plant please polish pour practice
        praise prefer prepare press print promise protect prove punch purchase pursue question raise reach read
        recognize recommend record reduce refuse reject rescue respect return reveal reward rob roll rub ruin save
        scratch seize sell send separate serve share sharpen shave shoot show sketch smash smell solve spend spill
        spoil spray spread squeeze steal stir stop strike study suggest supply support surprise surround swallow swap
        sweep swing switch taste teach tear test thank throw tie touch trade translate trust try twist understand
        unwrap value warn wash waste wave wear weigh welcome wipe worship wrap write yell""",
    "animal": """
        alligator ant antelope badger bat bear bee bird camel canary cat cheetah chicken cobra cow coyote crab cricket
        crocodile crow deer dog dolphin donkey dragonfly duck eagle eel elephant falcon ferret finch flamingo fox frog
        gazelle gecko goat gorilla grasshopper guinea_pig hamster hawk hedgehog heron hippo horse hyena jellyfish
        kangaroo koala ladybird lamb leopard lizard lobster magpie mole monkey moose moth mule nightingale ostrich otter
        owl panda panther parrot peacock pelican penguin pheasant pig pigeon pony porcupine rabbit raccoon rat raven
        reindeer rhino rooster salmon seagull seal sheep skunk sloth snail snake sparrow spider squid squirrel starfish
        stork swan tiger toad tortoise trout turkey turtle viper vulture walrus wasp weasel woodpecker yak zebra""",
    "place": """
        Amsterdam Athens Atlanta Baghdad Bangkok Barcelona Berlin Bombay Brazil Brussels Cairo Calgary Cambridge
        Chicago China Copenhagen Dallas Delhi Denmark Denver Dublin Edinburgh Egypt Florence France Germany Glasgow
        Greece Havana Helsinki Hong_Kong Iceland India Ireland Istanbul Jakarta Jamaica Japan Jerusalem Kenya Kyoto
        Liverpool London Madrid Melbourne Memphis Mexico Miami Milan Montreal Morocco Moscow Munich Naples New_York
        Norway Ohio Oregon Oslo Ottawa Peru Phoenix Portugal Prague Quebec Rome Russia San_Francisco Scotland Seattle
        Seoul Shanghai Singapore South_Africa Spain Stockholm Sweden Sydney Texas Thailand Toronto Turkey Utah Vancouver
        Vermont Virginia Wales Wyoming Yorkshire Zanzibar""",
    "subject": """
        algebra architecture art astronomy baking baseball botany cinema climate coffee cooking dancing democracy
        dinosaurs dreams economics education electricity evolution exercise fashion fishing football gardening genetics
        geography grammar gravity health history hockey humor justice jazz language law literature logic magic
        mathematics medicine memory mountains mythology nature networks nutrition oceans opera painting peace
        philosophy poverty programming psychology religion robots sailing science sculpture sleep soccer space sport
        statistics swimming television theatre time tourism traffic travel volcanoes war water wildlife yoga""",
}
_NUMBERS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")

WORDS: Mapping[str, Sequence[str]] = {
    kind: [word.replace("_", " ") for word in words.split()] for kind, words in _WORDS.items()
}


def spoken_number(number: int) -> str:
    """A number from 0 to 999 999 in words."""
    if number < 20:
        return _NUMBERS[number]
    if number < 100:
        ten, rest = _TENS[number // 10 - 2], number % 10
        return f"{ten} {_NUMBERS[rest]}" if rest else ten
    size, name = (100, "hundred") if number < 1000 else (1000, "thousand")
    rest = number % size
    joint = " and " if size == 100 or rest < 100 else " "
    return f"{spoken_number(number // size)} {name}" + (joint + spoken_number(rest) if rest else "")


def draw_number(rng: np.random.Generator) -> str:
    """A number as an assistant says it: small ones, years, prices and shares."""
    kind = rng.integers(5)
    if kind == 0:
        return f"{spoken_number(int(rng.integers(13, 20)))} {spoken_number(int(rng.integers(10, 100)))}"
    if kind == 1:
        return f"{spoken_number(int(rng.integers(0, 100)))} point {spoken_number(int(rng.integers(0, 10)))}"
    return spoken_number(int(10 ** rng.uniform(0, 5.9)))


def draw_digits(rng: np.random.Generator) -> str:
    """Four to eight digits, said one by one."""
    return " ".join(_NUMBERS[digit] for digit in rng.integers(0, 10, int(rng.integers(4, 9))))
