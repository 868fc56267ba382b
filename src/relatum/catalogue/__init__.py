"""Read, check and split a catalogue, and tell who is linked to whom."""

from relatum.catalogue.catalogue import BUILT_IN, Catalogue, find_folder, validate
from relatum.catalogue.examine import examine
from relatum.catalogue.graph import Direction, as_asked, clique, directions, linked
from relatum.catalogue.links import Group, Link, Relation
from relatum.catalogue.split import Split, split_catalogue
from relatum.catalogue.tables import Problem

__all__ = [
    "BUILT_IN",
    "Catalogue",
    "Direction",
    "Group",
    "Link",
    "Problem",
    "Relation",
    "Split",
    "as_asked",
    "clique",
    "directions",
    "examine",
    "find_folder",
    "linked",
    "split_catalogue",
    "validate",
]
