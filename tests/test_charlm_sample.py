"""Sampling: the filters against plain statements of them, and drawing."""

import numpy as np
import pytest
from charlm_tools import TEXT, save_model, trained

from fastrnn.charlm.sample import default_prime, draw, generate, probabilities
from fastrnn.charlm.text import Vocabulary
from fastrnn.errors import UserError


def plain_probabilities(logits, temperature, top_k, top_p):
    """The filters in the plainest words, one character at a time."""
    weights = [np.exp(float(x) / temperature) for x in logits]
    ranked = sorted(range(len(weights)), key=lambda code: -weights[code])
    if top_k:
        ranked = ranked[:top_k]
    total = sum(weights[code] for code in ranked)
    kept, mass = [], 0.0
    for code in ranked:
        if mass >= top_p:
            break
        kept.append(code)
        mass += weights[code] / total
    total = sum(weights[code] for code in kept)
    return [weights[code] / total if code in kept else 0.0 for code in range(len(weights))]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [0, 1, 3, 7, 100])
@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.93, 1.0])
def test_probabilities_match_the_plain_statement(temperature, top_k, top_p):
    logits = np.random.default_rng(3).normal(0, 2, 7).astype(np.float32)
    got = probabilities(logits, temperature, top_k, top_p)
    np.testing.assert_allclose(got, plain_probabilities(logits, temperature, top_k, top_p), 1e-12)
    assert got.sum() == pytest.approx(1.0)


def test_temperature_zero_is_the_likeliest():
    assert probabilities([1.0, 3.0, 3.0, 2.0], temperature=0.0).tolist() == [0, 1, 0, 0]


def test_tiny_temperature_and_large_logits_do_not_overflow():
    weights = probabilities([-3e38, 1e38, 3e38], temperature=1e-300)
    assert weights.tolist() == [0, 0, 1]


def test_top_p_keeps_the_character_that_reaches_it():
    logits = np.log([0.5, 0.3, 0.2])
    assert np.count_nonzero(probabilities(logits, top_p=0.49)) == 1
    assert np.count_nonzero(probabilities(logits, top_p=0.51)) == 2


def test_draw_follows_the_probabilities_and_never_takes_what_has_none():
    rng = np.random.default_rng(0)
    weights = np.array([0.0, 0.25, 0.0, 0.75, 0.0])
    counts = np.bincount([draw(weights, rng) for _ in range(4000)], minlength=5)
    assert counts[[0, 2, 4]].tolist() == [0, 0, 0]
    assert counts[1] / 4000 == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    "options",
    [
        {"length": -1},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": float("nan")},
    ],
)
def test_options_out_of_range_are_refused(tmp_path, options):
    model, vocabulary = save_model(tmp_path / "m.safetensors")
    values = {"length": 5, **options}
    with pytest.raises(UserError, match="--"):
        next(generate(model, vocabulary, [0], **values))


def test_same_seed_same_text_another_seed_another(tmp_path):
    model, vocabulary = save_model(tmp_path / "m.safetensors")

    def text(seed):
        rng = np.random.default_rng(seed)
        return "".join(generate(model, vocabulary, [0], 50, rng=rng))

    assert text(1) == text(1) != text(2)
    assert len(text(1)) == 50


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "ugrnn"])
def test_drawing_step_by_step_sees_what_a_whole_run_sees(cell, tmp_path):
    model, vocabulary = save_model(tmp_path / "m.safetensors", cell=cell, layers=2)
    prime = vocabulary.encode("she sells")
    drawn = "".join(generate(model, vocabulary, prime, 20, temperature=0.0))
    codes = np.concatenate([prime, vocabulary.encode(drawn)])
    logits, _ = model(codes[:, None])
    likeliest = logits[:, 0].argmax(axis=1)[len(prime) - 1 : -1]
    assert vocabulary.decode(likeliest) == drawn


def test_text_goes_on_as_it_was_learnt():
    trainer = trained(epochs=60, hidden=32, lr=0.01)
    vocabulary = trainer.vocabulary
    prime = vocabulary.encode(TEXT[:20])
    drawn = "".join(generate(trainer.model, vocabulary, prime, 40, temperature=0.0))
    assert drawn == TEXT[20:60]


def test_default_prime_is_a_line_end_or_the_first_character():
    assert default_prime(Vocabulary("\n a")) == "\n"
    assert default_prime(Vocabulary("ab")) == "a"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_are_not_drawn_from(bad, temperature):
    with pytest.raises(FloatingPointError, match="not finite"):
        probabilities([0.0, bad, 1.0], temperature)
