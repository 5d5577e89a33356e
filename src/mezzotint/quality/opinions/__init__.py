"""What people say of pictures: mean opinion scores, comparisons of pairs, and whether they take a picture for a photo.

Ratings on a scale (`ratings`: ACR, DSIS), choices between two (`pairs`: Bradley-Terry), and real or generated
(`choices`: SR3's fool rate), out of CSV files (`files`), each with 95 % intervals.
"""

from __future__ import annotations

from mezzotint.quality.opinions.choices import Choice, Choices, FoolRate, fool_rates, inattentive
from mezzotint.quality.opinions.files import kind, read_choices, read_pairs, read_ratings, write_rows
from mezzotint.quality.opinions.pairs import Pairs, Strength, bradley_terry
from mezzotint.quality.opinions.ratings import (
    Opinion,
    Ratings,
    Screening,
    SubjectModel,
    against_reference,
    fit_subjects,
    mean_opinions,
    method_opinions,
    remove_bias,
    screen,
)

__all__ = [
    "Choice",
    "Choices",
    "FoolRate",
    "Opinion",
    "Pairs",
    "Ratings",
    "Screening",
    "Strength",
    "SubjectModel",
    "against_reference",
    "bradley_terry",
    "fit_subjects",
    "fool_rates",
    "inattentive",
    "kind",
    "mean_opinions",
    "method_opinions",
    "read_choices",
    "read_pairs",
    "read_ratings",
    "remove_bias",
    "screen",
    "write_rows",
]
