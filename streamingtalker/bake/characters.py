"""The people that can be baked."""

from streamingtalker.bake.identity import (
    Bob,
    BrowLook,
    Cropped,
    EyeLook,
    Garment,
    Gathered,
    HairColor,
    Identity,
    LashLook,
    Look,
    Parted,
    SkinLook,
    both_sides,
)

CREW_NECK = ((0, -0.134), (25, -0.131), (50, -0.123), (75, -0.115), (100, -0.109), (140, -0.106), (180, -0.105))

MAYA = Identity(
    name="maya",
    shape={
        "macrodetails/caucasian-female-young": 0.62,
        "macrodetails/asian-female-young": 0.2,
        "macrodetails/african-female-young": 0.18,
        "macrodetails/universal-female-young-averagemuscle-averageweight": 1.0,
        "macrodetails/proportions/female-young-averagemuscle-averageweight-idealproportions": 0.5,
        "head/head-oval": 0.45,
        "head/head-scale-vert-decr": 0.1,
        "head/head-scale-horiz-decr": 0.2,
        "eyebrows/eyebrows-trans-up": 0.35,
        "eyebrows/eyebrows-trans-backward": 0.3,
        "nose/nose-scale-horiz-decr": 0.35,
        "nose/nose-point-width-decr": 0.35,
        "nose/nose-nostrils-width-decr": 0.35,
        "nose/nose-curve-concave": 0.2,
        "nose/nose-point-up": 0.15,
        "nose/nose-scale-depth-decr": 0.15,
        "mouth/mouth-angles-up": 0.35,
        "mouth/mouth-upperlip-volume-incr": 0.3,
        "mouth/mouth-lowerlip-volume-incr": 0.15,
        "mouth/mouth-cupidsbow-incr": 0.25,
        "mouth/mouth-scale-horiz-incr": 0.1,
        "chin/chin-width-decr": 0.35,
        "chin/chin-prominent-decr": 0.15,
        "neck/neck-scale-horiz-decr": 0.45,
        "neck/neck-scale-depth-decr": 0.3,
        "torso/measure-shoulder-dist-decr": 0.4,
        **both_sides(
            {
                "eyes/eye-scale-incr": 0.35,
                "eyes/eye-height2-incr": 0.3,
                "eyes/eye-corner2-up": 0.2,
                "cheek/cheek-bones-incr": 0.3,
                "cheek/cheek-volume-incr": 0.1,
                "ears/ear-wing-decr": 0.4,
                "ears/ear-scale-decr": 0.3,
            }
        ),
    },
    rest={"mouthSmile": 0.14, "cheekSquint": 0.10, "mouthDimple": 0.06},
)


KWAME = Identity(
    name="kwame",
    shape={
        "macrodetails/african-male-young": 0.85,
        "macrodetails/caucasian-male-young": 0.15,
        "macrodetails/universal-male-young-averagemuscle-averageweight": 1.0,
        "macrodetails/proportions/male-young-averagemuscle-averageweight-idealproportions": 0.5,
        "head/head-oval": 0.3,
        "head/head-rectangular": 0.2,
        "nose/nose-scale-horiz-decr": 0.1,
        "mouth/mouth-angles-up": 0.4,
        "chin/chin-jaw-drop-decr": 0.1,
        "torso/measure-shoulder-dist-decr": 0.3,
        **both_sides(
            {
                "ears/ear-wing-decr": 0.4,
                "ears/ear-scale-decr": 0.2,
                "eyes/eye-scale-incr": 0.2,
                "eyes/eye-height2-incr": 0.35,
            }
        ),
    },
    look=Look(
        skin=SkinLook(
            tone=(0.515, 0.345, 0.255),
            blush=(0.50, 0.25, 0.18),
            flush=0.5,
            lid=(0.36, 0.22, 0.16),
            lips=(0.50, 0.29, 0.25),
            tint=0.75,
            seam=(0.22, 0.10, 0.09),
            rim=(0.50, 0.28, 0.23),
            stubble=0.5,
            stubble_color=(0.13, 0.09, 0.075),
        ),
        eyes=EyeLook(
            iris=(0.17, 0.095, 0.05), fibres=(0.33, 0.19, 0.09), ring=(0.05, 0.03, 0.02), white=(0.83, 0.79, 0.75)
        ),
        brows=BrowLook(color=(0.075, 0.052, 0.042), shade=(0.20, 0.13, 0.10)),
        lashes=LashLook(upper=0.0052, liner=0.45, lower=(0.25, 0.16, 0.12)),
        hair=Cropped(
            color=HairColor(dark=(0.022, 0.017, 0.015), middle=(0.085, 0.064, 0.054), sheen=(0.2, 0.17, 0.15)),
            scalp=(0.10, 0.07, 0.055),
        ),
        garment=Garment(cloth=(0.62, 0.42, 0.16), hem=(0.54, 0.36, 0.13), neckline=CREW_NECK),
    ),
    rest={"mouthSmile": 0.12, "cheekSquint": 0.08},
)

ARTHUR = Identity(
    name="arthur",
    shape={
        "macrodetails/caucasian-male-young": 0.35,
        "macrodetails/caucasian-male-old": 0.65,
        "macrodetails/universal-male-young-averagemuscle-averageweight": 0.5,
        "macrodetails/universal-male-old-averagemuscle-averageweight": 0.5,
        "head/head-age-incr": 0.3,
        "head/head-oval": 0.2,
        "mouth/mouth-angles-up": 0.5,
        "mouth/mouth-upperlip-volume-incr": 0.3,
        "mouth/mouth-lowerlip-volume-incr": 0.3,
        "eyebrows/eyebrows-trans-up": 0.3,
        "torso/measure-shoulder-dist-decr": 0.3,
        **both_sides(
            {
                "ears/ear-wing-decr": 0.4,
                "eyes/eye-bag-incr": 0.2,
                "eyes/eye-height2-incr": 0.5,
                "eyes/eye-scale-incr": 0.2,
            }
        ),
    },
    look=Look(
        skin=SkinLook(
            tone=(0.915, 0.745, 0.665),
            blush=(0.80, 0.42, 0.38),
            flush=1.25,
            lid=(0.72, 0.50, 0.45),
            lips=(0.70, 0.40, 0.385),
            tint=0.85,
            stubble=0.3,
            stubble_color=(0.55, 0.52, 0.51),
            freckles=1.0,
        ),
        eyes=EyeLook(
            iris=(0.30, 0.40, 0.50), fibres=(0.58, 0.68, 0.76), ring=(0.13, 0.17, 0.22), white=(0.87, 0.85, 0.82)
        ),
        brows=BrowLook(color=(0.47, 0.45, 0.43), shade=(0.66, 0.56, 0.51), density=0.6),
        lashes=LashLook(upper=0.0048, color=(0.20, 0.15, 0.13), liner=0.4),
        hair=Parted(
            color=HairColor(
                dark=(0.30, 0.29, 0.29), middle=(0.60, 0.595, 0.60), sheen=(0.86, 0.86, 0.87), grey=(0.42, 0.41, 0.41)
            ),
            scalp=(0.55, 0.47, 0.43),
        ),
        garment=Garment(cloth=(0.235, 0.27, 0.36), hem=(0.20, 0.23, 0.31), neckline=CREW_NECK),
    ),
    rest={"mouthSmile": 0.16, "cheekSquint": 0.15},
)

MEI = Identity(
    name="mei",
    shape={
        "macrodetails/asian-female-young": 0.9,
        "macrodetails/caucasian-female-young": 0.1,
        "macrodetails/universal-female-young-averagemuscle-averageweight": 1.0,
        "macrodetails/proportions/female-young-averagemuscle-averageweight-idealproportions": 0.5,
        "head/head-oval": 0.7,
        "head/head-scale-horiz-decr": 0.3,
        "mouth/mouth-angles-up": 0.4,
        "mouth/mouth-cupidsbow-incr": 0.35,
        "mouth/mouth-upperlip-volume-incr": 0.25,
        "mouth/mouth-scale-horiz-decr": 0.15,
        "nose/nose-scale-horiz-decr": 0.3,
        "nose/nose-trans-up": 0.1,
        "neck/neck-scale-horiz-decr": 0.4,
        "torso/measure-shoulder-dist-decr": 0.4,
        **both_sides({"ears/ear-wing-decr": 0.4, "ears/ear-scale-decr": 0.3, "eyes/eye-scale-incr": 0.3}),
    },
    look=Look(
        skin=SkinLook(
            tone=(0.955, 0.800, 0.690),
            blush=(0.87, 0.47, 0.42),
            flush=0.8,
            lid=(0.74, 0.53, 0.45),
            lips=(0.77, 0.39, 0.39),
        ),
        eyes=EyeLook(iris=(0.20, 0.115, 0.07), fibres=(0.40, 0.235, 0.13), ring=(0.05, 0.03, 0.025)),
        brows=BrowLook(color=(0.13, 0.095, 0.085), shade=(0.42, 0.31, 0.26), density=0.7),
        lashes=LashLook(upper=0.0068, liner=1.0),
        hair=Gathered(
            color=HairColor(dark=(0.04, 0.031, 0.03), middle=(0.115, 0.09, 0.085), sheen=(0.38, 0.33, 0.32)),
            scalp=(0.10, 0.08, 0.075),
        ),
        garment=Garment(cloth=(0.60, 0.23, 0.25), hem=(0.52, 0.19, 0.21)),
    ),
    rest={"mouthSmile": 0.14, "cheekSquint": 0.06},
)

ROSA = Identity(
    name="rosa",
    shape={
        "macrodetails/caucasian-female-old": 0.7,
        "macrodetails/caucasian-female-young": 0.15,
        "macrodetails/african-female-young": 0.15,
        "macrodetails/universal-female-young-averagemuscle-averageweight": 0.4,
        "macrodetails/universal-female-old-averagemuscle-averageweight": 0.6,
        "head/head-oval": 0.3,
        "mouth/mouth-angles-up": 0.4,
        "neck/neck-scale-horiz-decr": 0.3,
        "torso/measure-shoulder-dist-decr": 0.4,
        **both_sides({"ears/ear-wing-decr": 0.4, "eyes/eye-scale-incr": 0.3}),
    },
    look=Look(
        skin=SkinLook(
            tone=(0.905, 0.725, 0.615),
            blush=(0.78, 0.40, 0.36),
            flush=1.1,
            lid=(0.68, 0.47, 0.40),
            lips=(0.72, 0.35, 0.35),
            freckles=0.8,
        ),
        eyes=EyeLook(iris=(0.27, 0.31, 0.20), fibres=(0.52, 0.52, 0.32), ring=(0.11, 0.12, 0.08)),
        brows=BrowLook(color=(0.44, 0.37, 0.32), shade=(0.62, 0.48, 0.41), density=0.6),
        lashes=LashLook(upper=0.006, color=(0.12, 0.09, 0.08), liner=0.8),
        hair=Bob(
            color=HairColor(dark=(0.25, 0.235, 0.23), middle=(0.62, 0.61, 0.61), sheen=(0.90, 0.90, 0.90)),
            scalp=(0.60, 0.52, 0.47),
            parting=-0.018,
            tip=-0.060,
            rise=0.010,
            volume=0.010,
        ),
        garment=Garment(cloth=(0.33, 0.22, 0.36), hem=(0.28, 0.18, 0.31)),
    ),
    rest={"mouthSmile": 0.15, "cheekSquint": 0.1},
)

CHARACTERS = {person.name: person for person in (MAYA, KWAME, ARTHUR, MEI, ROSA)}
