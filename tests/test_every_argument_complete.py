"""The calls of the test_every_argument files together: no public callable and none of its arguments is left out."""

import inspect

import test_every_argument_layers
import test_every_argument_models
import test_every_argument_training

import fastrnn
from fastrnn import init

CALLS = [*test_every_argument_layers.CALLS, *test_every_argument_models.CALLS, *test_every_argument_training.CALLS]
PUBLIC = [getattr(fastrnn, name) for name in fastrnn.__all__] + [getattr(init, name) for name in init.__all__]


def test_no_public_callable_and_no_argument_is_left_out():
    tested = {}
    for call in CALLS:
        tested.setdefault(call.who.rpartition(".")[2], set()).update(call.arguments)
    for thing in PUBLIC:
        if not callable(thing) or not inspect.signature(thing).parameters:
            continue
        missing = set(inspect.signature(thing).parameters) - tested.get(thing.__name__, set())
        if thing is fastrnn.Stream:
            missing -= tested["stream"]
        assert not missing, thing
