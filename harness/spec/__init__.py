"""The terms of the benchmark as plain data: label sets, lists, views, recipes, protocols, method cards, options.

Nothing here imports torch, so a protocol can be listed, planned and checked without it.
"""

from harness.spec.card import MethodCard
from harness.spec.labels import LabelSet
from harness.spec.lists import ListRef, VideoList
from harness.spec.protocol import Column, DatasetFacts, Eval, Fit, Protocol, Repeat, ZeroShotTest
from harness.spec.recipe import ParentFit, Recipe
from harness.spec.views import Views

__all__ = [
    "Column",
    "DatasetFacts",
    "Eval",
    "Fit",
    "LabelSet",
    "ListRef",
    "MethodCard",
    "ParentFit",
    "Protocol",
    "Recipe",
    "Repeat",
    "VideoList",
    "Views",
    "ZeroShotTest",
]
