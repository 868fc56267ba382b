"""The plain words for what the game abbreviates, and the lists of what is left out.

`survival.py` and `survival_relations.py` read these tables; nothing is computed here.
"""

import re

SHELVES_LEFT_OUT = re.compile(  # the files of things nobody has at home
    "/artifact/|/obsolete|/relics/|/corpses/|/biosignatures|/explosives|/fake|/pseudo|/migration|"
    "items/bionics|/items/ammo/(?!nail)|/ballistic_armor|/ammo_pouch|/holster|generic/casing"
)
NAMES_LEFT_OUT = re.compile(  # unfriendly, or no thing at all
    r"flesh|human|mutant|tainted|corpse|blood|feces|monster|alien|mutagen|\bgun\b|rifle|grenade|"
    r"bomb|explosi|napalm|gelled|flamethrower|\b1\d\dmm|incendiary|thermite|gunpowder|hmtd|"
    r"black powder|oxidizer|rocket fuel|match head|ammonium|chitin|razorclaw|atomic|plutonium|"
    r"suppressor|stun|slime|goop|bayonet|caltrops|\btrap\b|spiked|nail ?bat|nailboard|"
    r"barbed wire bat|tonfa|baton|brain|\blungs?\b|kidney|sweetbread|stomach|tripe|codeine|"
    r"oxycodone|tramadol|marijuana|joint|pink tab|weed|roach|condom|cig|glass pipe|bot\b|"
    r"inactive|broken|demihuman|foodperson|- flashlight|rm13|mjolnir|fake|dirty|trench|"
    r"fighting knife|combat knife|in progress|abstract|linkage|\bups\b|generic|survivor's note|"
    r"maid |cudgel|casing|leaflet|holo.?sight|raw_curing|integrated toolset|kirpan",
    re.IGNORECASE,
)
STORIES_LEFT_OUT = re.compile(
    r"flesh|corpse|\bgor[ey]|suicide|tortur|undead|zombie|\bkill|murder|human meat|severed",
    re.IGNORECASE,
)
STATES_LEFT_OUT = re.compile(
    r"\((?!off)[^)]*\b(on|lit|active|used|wet|burnt|raised)\)|_(on|lit|wet|used|act)$"
)
JOBS_LEFT_OUT = frozenset(
    "naked lost_sub crackhead heroin_addict tweaker pillhead convict_drugs death_row_convict "
    "mutant_patient mutant_volunteer true_foodperson gangster svictim convict_ratman mili_burner "
    "unemployed kit_survivor game_master".split()
)
JOBS = {
    "nco": "non-commissioned officer",
    "jr_survivalist": "junior survivalist",
    "senior": "senior citizen",
    "cosplay": "anime fan",
    "hazmat_unit": "hazardous materials worker",
    "mall_cop": "mall security guard",
    "national_guard": "national guard soldier",
    "sheltered_militia": "sheltered militia member",
    "crazy_cat_lady": "cat lover",
    "parkour_practitioner": "free runner",
    "reenactor": "historical reenactor",
    "reenactor2": "not so historical reenactor",
    "super_biker": "motorcycle racer",
}
MATERIALS = {
    name: name
    for name in "aluminum bone brass bronze cardboard ceramic clay copper cotton diamond egg fruit "
    "fur glass gold honey iron kevlar lead leather neoprene nomex oil paper plastic silver "
    "platinum rubber steel stone superalloy tin wood charcoal coal wool cheese soil zinc water "
    "garlic wheat gasoline diesel biodiesel".split()
} | {
    "bean": "beans",
    "budget_steel": "cheap steel",
    "carbide": "layered carbide",
    "cured_meat": "cured meat",
    "dried_vegetable": "dried vegetables",
    "dry_plant": "dried plants",
    "faux_fur": "imitation fur",
    "flesh": "meat",
    "freshclay": "fresh clay",
    "gemstone": "gemstone",
    "hardsteel": "hardened steel",
    "hydrocarbons": "hydrocarbons",
    "ice_cream": "ice cream",
    "junk": "junk food",
    "kevlar_layered": "layered kevlar",
    "kevlar_rigid": "rigid kevlar",
    "lamp_oil": "lamp oil",
    "lycra": "lycra",
    "milk": "dairy",
    "motor_oil": "motor oil",
    "mushroom": "mushrooms",
    "nut": "nuts",
    "nylon": "synthetic fabric",
    "powder": "powder",
    "powder_nonflam": "powder",
    "processed_food": "processed food",
    "tomato": "tomatoes",
    "veggy": "vegetables",
}
TOOL_JOBS = {  # "can be used for …"; the others are called by the game's own name
    "ANALYSIS": "chemical analysis",
    "ANVIL": "shaping hot metal",
    "AXE": "felling trees",
    "CHEM": "making chemicals",
    "CHISEL_WOOD": "chiseling wood",
    "CHURN": "churning",
    "CONCENTRATE": "concentrating solutions",
    "CONTAIN": "holding liquids",
    "COOK": "cooking food",
    "CUT_FINE": "fine cutting",
    "DRILL_ROCK": "drilling rock",
    "EXTRACT": "extracting substances",
    "FILTER": "filtering",
    "FINE_DISTILL": "fine distilling",
    "GLARE": "shielding the eyes from glare",
    "HOSE": "siphoning liquids",
    "JACK": "jacking up a car",
    "LEATHER_AWL": "piercing leather",
    "LIFT": "lifting heavy loads",
    "PULL": "pulling cartridges apart",
    "PUNCH": "punching holes",
    "ROPE": "tying and hauling like a rope",
    "SAW_M": "sawing metal",
    "SAW_M_FINE": "fine sawing of metal",
    "SAW_W": "sawing wood",
    "SCREW": "driving screws",
    "SCREW_FINE": "driving small screws",
    "SELF_JACK": "jacking up a car from inside",
    "SEPARATE": "separating substances",
    "SEW_CURVED": "sewing with a curved needle",
    "SURFACE": "working on a clean surface",
    "SUSPENDING": "hanging things over a fire",
    "WHEEL_FAST": "fastening wheels",
    "WRENCH": "turning bolts",
    "WRENCH_FINE": "turning small bolts",
}
SUPPLIES = {
    "battery": "batteries",
    "match": "matches",
    "esbit": "hexamine fuel",
    "jp8": "jet fuel",
    "flammable": "flammable liquid",
    "nitrox": "compressed air",
    "tape": "duct tape",
}
SUPPLIES_LEFT_OUT = frozenset("NULL components UPS thrown money glowstick_juice".split())
MASS = re.compile(  # the game counts these by the piece
    r"\b(ash|aspirin|bread|butter|cardboard|chicken|flint|gauze|glue|ketchup|lard|lettuce|liver|"
    r"meat|metal|paper|rebar|solder|solution|spread|sweetener|tallow|wax|wire)$"
)
HELD = frozenset(["RESTRICT_HANDS", "RAIN_PROTECT"])  # carried in the hands rather than worn
PARTS = {
    "arm": "arms",
    "eyes": "eyes",
    "foot": "feet",
    "hand": "hands",
    "head": "head",
    "leg": "legs",
    "mouth": "mouth and nose",
    "torso": "upper body",
}
RELATIONS = (  # id, text, inverse of the directed ones, four other ways to say it
    (
        "place",
        "are found in the same place",
        None,
        "turn up in the same spot",
        "are kept in the same room or store",
        "lie around together",
        "can be picked up at one location",
    ),
    (
        "ingredient",
        "can be crafted from a common ingredient",
        None,
        "share a component they are built from",
        "use up the same part when they are made",
        "have an ingredient in common",
        "can start from the same raw material",
    ),
    (
        "tool_needed",
        "need the same tool to make",
        None,
        "are made with the same tool",
        "call for one and the same tool in their making",
        "come off the same workbench tool",
        "cannot be crafted without the same kind of tool",
    ),
    (
        "material",
        "are made of the same material",
        None,
        "consist of the same stuff",
        "share a material",
        "are of one substance",
        "have the same material in them",
    ),
    (
        "skill",
        "take the same craft skill to make",
        None,
        "are made by people with the same know-how",
        "draw on one craft",
        "are the work of the same trade",
        "need the same training to craft",
    ),
    (
        "job",
        "do the same job as a tool",
        None,
        "can stand in for each other as a tool",
        "serve the same purpose in work",
        "are good for the same task",
        "can be used for the same work",
    ),
    (
        "profession",
        "are carried by the same profession",
        None,
        "belong to the outfit of the same occupation",
        "are worn or held by people in one line of work",
        "are part of the same person's kit",
        "go with the same occupation",
    ),
    (
        "worn",
        "are worn on the same part of the body",
        None,
        "cover the same body part",
        "go on the same place when you get dressed",
        "dress or protect the same part of you",
        "are put on the same limb or body part",
    ),
    (
        "supply",
        "run on the same fuel, battery or supply",
        None,
        "use up the same supply",
        "are powered or filled by the same thing",
        "take the same battery or refill",
        "need the same consumable to work",
    ),
    (
        "book",
        "are taught in the same book",
        None,
        "can be learned from one book",
        "have their instructions in the same book",
        "are described as projects in one book",
        "share a manual that explains how to make them",
    ),
    (
        "made_from",
        "is made from",
        "is used to make",
        "has as an ingredient",
        "can be crafted out of",
        "takes as a component",
        "is built out of",
    ),
    (
        "made_with",
        "is made with the tool",
        "is the tool for making",
        "needs for its making the tool",
        "is crafted using",
        "is produced by working with",
        "takes as a tool to make",
    ),
)
