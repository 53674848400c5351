"""JSON that loses nothing: numbers keep their digits, objects keep keys that are there twice.

A number is a Number, which is its text: 1.0 isn't 1, and no digit of a large one is lost. An object is an Object,
which is its pairs in the order that they were written in; two objects are the same whatever that order.
"""

import json


class Number(str):
    """A number as it was written."""

    __hash__ = str.__hash__

    def __eq__(self, other):
        return isinstance(other, Number) and str.__eq__(self, other)

    def __ne__(self, other):
        return not self == other

    def __repr__(self):
        return str(self)


class Object(list):
    """The pairs of an object."""

    def get(self, key, default=None):
        """The value of a key; of the last pair that has it, as every parser takes it."""
        return next((value for name, value in reversed(self) if name == key), default)

    def keys(self):
        return [name for name, _ in self]

    def __eq__(self, other):
        # Sorting is stable: what is there twice must be there in the same order.
        return isinstance(other, Object) and by_key(self) == by_key(other)

    def __ne__(self, other):
        return not self == other


def by_key(pairs):
    return sorted(pairs, key=lambda pair: pair[0])


def loads(text):
    # Whole numbers, too, as text: -0 isn't 0.
    return json.loads(text, object_pairs_hook=Object, parse_int=Number, parse_float=Number, parse_constant=refuse)


def refuse(text):
    raise ValueError(f"{text} is not JSON")


def dumps(value):
    """One line, the same for the same value: keys in order."""
    if isinstance(value, Object):
        pairs = (f"{json.dumps(key)}:{dumps(inner)}" for key, inner in by_key(value))
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{dumps(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dumps, value)) + "]"
    if isinstance(value, Number):
        return str(value)
    return json.dumps(value)
