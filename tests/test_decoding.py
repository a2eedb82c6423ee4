"""Decoding: every search against all that there is to find, and what it promises."""

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest

import fastrnn
from fastrnn import decoding

V, END = 3, 2


class Toy:
    """A model that has seen the whole prefix: logits that depend on all of it, by a number for each prefix.

    The state has the forms that a state may have: the codes of the prefixes, and beside them what must follow.
    """

    def __init__(self, seed=0, size=V, scale=2.0, dtype=np.float32):
        self.seed, self.size, self.scale, self.dtype, self.calls = seed, size, scale, dtype, []

    def logits(self, code):
        rng = np.random.default_rng([self.seed, int(code)])
        return rng.normal(0, self.scale, self.size).astype(self.dtype)

    def begin(self, N):
        return (np.arange(N)[None], [np.arange(N, dtype=float).reshape(1, N, 1), None])

    def step(self, tokens, state):
        codes, (follower, nothing) = state
        assert tokens.dtype == np.int64 and tokens.shape == codes[0].shape and nothing is None
        codes = codes * (self.size + 1) + tokens + 7
        self.calls.append(len(tokens))
        return np.array([self.logits(code) for code in codes[0]]), (codes, [follower, None])

    def log_probability(self, row, start, tokens):
        """Of tokens, `end` included where it is, one after the other."""
        code, total = row, 0.0
        for before, token in zip([start, *tokens], tokens, strict=False):
            code = code * (self.size + 1) + before + 7
            logits = self.logits(code).astype(np.float64)
            total += logits[token] - math.log(np.exp(logits).sum())
        return total


def everything(toy, row, start, length, end=END):
    """(tokens without end, log probability, symbols) of all there is within so many symbols."""
    for n in range(1, length + 1):
        for tokens in itertools.product(range(toy.size), repeat=n):
            if end not in tokens[:-1] and (tokens[-1] == end or n == length):
                shown = tokens[:-1] if tokens[-1] == end else tokens
                yield shown, toy.log_probability(row, start, tokens), n


# ------------------------------------------------------------------------------------------------------ greedy


@pytest.mark.parametrize("end", [None, END])
def test_greedy_takes_the_likeliest_every_time(end):
    toy = Toy()
    found = decoding.greedy(toy.step, toy.begin(6), [0, 1, 0, 1, 2, 0], end=end, length=5)
    for row, tokens in enumerate(found):
        expected, code, before = [], row, [0, 1, 0, 1, 2, 0][row]
        for _ in range(5):
            code = code * (V + 1) + before + 7
            before = int(toy.logits(code).argmax())
            if before == end:
                break
            expected.append(before)
        assert tokens.tolist() == expected and tokens.dtype == np.int64


def test_sequences_that_have_ended_are_not_run():
    toy = Toy()
    found = decoding.greedy(toy.step, toy.begin(6), 0, end=END, length=5)
    steps = [min(len(tokens) + 1, 5) for tokens in found]
    assert len(set(steps)) > 1
    assert toy.calls == [sum(n > t for n in steps) for t in range(max(steps))]


def test_of_equal_logits_the_first_is_taken():
    found = decoding.greedy(lambda tokens, state: (np.zeros((len(tokens), 4)), None), None, 3, length=2)
    assert [tokens.tolist() for tokens in found] == [[0, 0]]


# ------------------------------------------------------------------------------------------------------ sampling


def test_the_same_seed_draws_the_same_and_another_draws_others():
    def drawn(seed):
        toy = Toy()
        return [own.tolist() for own in decoding.sample(toy.step, toy.begin(9), 0, end=END, length=6, seed=seed)]

    assert drawn(1) == drawn(1) != drawn(2)


def test_what_is_drawn_does_not_depend_on_the_other_sequences():
    toy = Toy()
    wide = decoding.sample(toy.step, toy.begin(9), 0, end=END, length=6, seed=3)
    narrow = decoding.sample(toy.step, toy.begin(2), 0, end=END, length=6, seed=3)
    assert [own.tolist() for own in narrow] == [own.tolist() for own in wide[:2]]


def test_samples_have_the_probabilities_of_the_model():
    logits, N = np.log([0.5, 0.3, 0.2]), 4000
    drawn = decoding.sample(lambda tokens, state: (np.tile(logits, (len(tokens), 1)), None), None, np.zeros(N, int),
                            length=1, seed=0)
    np.testing.assert_allclose(np.bincount(np.concatenate(drawn)) / N, [0.5, 0.3, 0.2], atol=0.03)


@pytest.mark.parametrize("options, expected", [
    ({"temperature": 0}, {0}), ({"top_k": 2}, {0, 1}), ({"top_p": 0.6}, {0, 1}), ({"top_p": 0.49}, {0}),
    ({"top_k": 3, "top_p": 1.0}, {0, 1, 2}), ({}, {0, 1, 2}),
])  # fmt: skip
def test_only_the_likely_are_drawn_where_so_asked(options, expected):
    logits = np.log([0.5, 0.3, 0.2])
    drawn = decoding.sample(lambda tokens, state: (logits[None], None), None, 0, length=300, seed=0, **options)
    assert set(drawn[0].tolist()) == expected


def test_what_is_impossible_is_not_drawn():
    logits = np.array([[-np.inf, 0.0, -np.inf, 0.0]])
    for temperature in (0, 0.5, 1):
        drawn = decoding.sample(
            lambda tokens, state: (logits, None), None, 0, length=100, seed=0, temperature=temperature)
        assert set(drawn[0].tolist()) <= {1, 3}


def test_temperature_zero_is_greedy():
    toy = Toy()
    sampled = decoding.sample(toy.step, toy.begin(5), 1, end=END, length=6, temperature=0, seed=0)
    greedy = decoding.greedy(toy.step, toy.begin(5), 1, end=END, length=6)
    assert [own.tolist() for own in sampled] == [own.tolist() for own in greedy]


# --------------------------------------------------------------------------------------------------- beam search


@pytest.mark.parametrize("penalty", [0, 0.6, 1, 2.5])
@pytest.mark.parametrize("length", [1, 2, 4])
@pytest.mark.parametrize("end", [None, END])
def test_a_beam_that_holds_everything_finds_all_in_order(penalty, length, end):
    toy, starts = Toy(seed=length), [0, 1, 1]
    found = decoding.beam_search(
        toy.step, toy.begin(3), starts, end=end, length=length, width=V**length, length_penalty=penalty)
    for row, hypotheses in enumerate(found):
        every = [
            (tokens, total, total / ((5 + n) / 6) ** penalty)
            for tokens, total, n in everything(toy, row, starts[row], length, end)
        ]
        every.sort(key=lambda one: -one[2])
        assert [tuple(one.tokens) for one in hypotheses] == [tokens for tokens, _, _ in every]
        np.testing.assert_allclose([one.log_probability for one in hypotheses], [total for _, total, _ in every])
        np.testing.assert_allclose([one.score for one in hypotheses], [score for _, _, score in every])


def plain_beam(toy, row, start, length, width, penalty):
    """Beam search of one sequence in the plainest words, to the last step, with everything that has ended."""
    going, ended = [((), 0.0)], []
    for n in range(1, length + 1):
        longer = [(*tokens, v) for tokens, _ in going for v in range(V)]
        longer = [(tokens, toy.log_probability(row, start, tokens)) for tokens in longer]
        best = sorted(longer, key=lambda one: -one[1])[:width]
        ended += [(tokens[:-1], total, total / ((5 + n) / 6) ** penalty) for tokens, total in best if tokens[-1] == END]
        going = [one for one in best if one[0][-1] != END]
    ended += [(tokens, total, total / ((5 + length) / 6) ** penalty) for tokens, total in going]
    return sorted(ended, key=lambda one: -one[2])[:width]


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize("penalty", [0, 0.6, 2])
def test_any_width_finds_what_the_plain_statement_finds(width, penalty):
    """Also where the search stops early."""
    toy, N = Toy(seed=5, scale=1.0), 8
    found = decoding.beam_search(
        toy.step, toy.begin(N), 1, end=END, length=7, width=width, length_penalty=penalty)
    for row, hypotheses in enumerate(found):
        expected = plain_beam(toy, row, 1, 7, width, penalty)
        assert [tuple(one.tokens) for one in hypotheses] == [tokens for tokens, _, _ in expected]
        np.testing.assert_allclose([one.score for one in hypotheses], [score for _, _, score in expected])


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_one_is_greedy(seed):
    toy = Toy(seed=seed)
    greedy = decoding.greedy(toy.step, toy.begin(5), 0, end=END, length=6)
    found = decoding.beam_search(toy.step, toy.begin(5), 0, end=END, length=6, width=1)
    assert [[one.tokens.tolist() for one in own] for own in found] == [[own.tolist()] for own in greedy]


def test_the_beams_of_all_sequences_are_one_batch():
    toy = Toy()
    decoding.beam_search(toy.step, toy.begin(4), 0, end=None, length=3, width=2)
    assert toy.calls == [4, 8, 8]


def test_the_search_stops_where_nothing_better_can_come():
    """The end is likely at once, everything else is not: 3 of 100 steps are run."""
    calls = []

    def step(tokens, state):
        calls.append(len(tokens))
        return np.tile([0.0, -9.0, 9.0], (len(tokens), 1)), None

    found = decoding.beam_search(step, None, 0, end=END, length=100, width=2, length_penalty=0)
    assert len(calls) <= 3
    assert [one.tokens.tolist() for one in found[0]] == [[], [0]]


def test_equal_hypotheses_have_one_order():
    def step(tokens, state):
        return np.zeros((len(tokens), V)), None

    found = decoding.beam_search(step, None, 0, end=END, length=2, width=5, length_penalty=0)
    assert [tuple(one.tokens) for one in found[0]] == [(), (0,), (0, 0), (0, 1), (1, 0)]


def test_impossible_hypotheses_are_not_found():
    logits = np.array([0.0, -np.inf, 0.0])
    found = decoding.beam_search(
        lambda tokens, state: (np.tile(logits, (len(tokens), 1)), None), None, 0, end=END, length=2, width=9)
    assert {tuple(one.tokens) for one in found[0]} == {(), (0,), (0, 0)}


class Pair(NamedTuple):
    h: np.ndarray
    c: np.ndarray


def test_states_of_layers_and_named_tuples_follow_their_hypotheses():
    """An LSTM's step by a beam, against the run over each of the sequences found."""
    lstm = fastrnn.LSTM(4, 8, 2, dtype="float64", seed=0)
    head = fastrnn.Linear(8, 4, dtype="float64", seed=1)

    def step(tokens, state):
        y, (h, c) = lstm(tokens[None], tuple(state))
        return 5 * head(y[0]), Pair(h, c)

    start = Pair(*np.random.default_rng(0).normal(size=(2, 2, 3, 8)))
    found = decoding.beam_search(step, start, 0, end=3, length=6, width=4)
    for row, hypotheses in enumerate(found):
        assert len(hypotheses) == 4
        for one in hypotheses:
            tokens = [*one.tokens] if len(one.tokens) == 6 else [*one.tokens, 3]
            y, _ = lstm(np.array([0, *tokens[:-1]])[:, None], tuple(kind[:, row : row + 1] for kind in start))
            logits = 5 * head(y[:, 0])
            log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            assert one.log_probability == pytest.approx(log_p[np.arange(len(tokens)), tokens].sum())


# ----------------------------------------------------------------------------------------------------------- CTC


def labelling(path, blank):
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != blank)


def log_softmax(logits):
    logits = logits.astype(np.float64)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def every_labelling(logits, blank):
    """The log probability of each labelling, summed over all paths."""
    log_p, sums = log_softmax(logits), {}
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        total = sum(log_p[t, symbol] for t, symbol in enumerate(path))
        key = labelling(path, blank)
        sums[key] = np.logaddexp(sums.get(key, -math.inf), total)
    return sums


def ctc_logits(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng([seed, *shape]).normal(0, 1.5, shape).astype(dtype)


@pytest.mark.parametrize("blank", [0, 1, 2])
@pytest.mark.parametrize("T", [0, 1, 2, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_wide_ctc_beam_is_the_sum_over_all_paths(blank, T, dtype):
    logits = ctc_logits(T, 3, seed=blank, dtype=dtype)
    expected = every_labelling(logits, blank)
    (found,) = decoding.ctc_beam_search([logits], width=10**4, blank=blank)
    assert {tuple(one.tokens) for one in found} == set(expected)
    for one in found:
        assert one.score == one.log_probability == pytest.approx(expected[tuple(one.tokens)], rel=1e-9, abs=1e-9)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert sum(math.exp(one.score) for one in found) == pytest.approx(1)


@pytest.mark.parametrize("width", [1, 2, 4, 16])
def test_a_narrow_ctc_beam_has_lower_bounds(width):
    logits = ctc_logits(6, 4)
    expected = every_labelling(logits, 0)
    (found,) = decoding.ctc_beam_search([logits], width=width)
    assert 1 <= len(found) <= width
    assert len({tuple(one.tokens) for one in found}) == len(found)
    for one in found:
        assert one.score <= expected[tuple(one.tokens)] + 1e-9


@pytest.mark.parametrize("seed", range(20))
def test_a_prefix_that_comes_back_into_the_beam_is_the_same_prefix(seed):
    """Narrow beams lose prefixes whose continuations stay, and find them again."""
    (found,) = decoding.ctc_beam_search([ctc_logits(40, 3, seed=seed)], width=3)
    assert len({tuple(one.tokens) for one in found}) == len(found)


def test_symbols_repeat_across_a_blank_alone():
    sure = 20 * np.eye(3, dtype=np.float32)
    cases = {(1, 1): [1], (1, 0, 1): [1, 1], (0, 0): [], (1, 2, 2, 1): [1, 2, 1], (): [], (2, 2, 0, 0, 2, 1): [2, 2, 1]}
    for path, expected in cases.items():
        logits = sure[list(path)] if path else np.zeros((0, 3), np.float32)
        assert decoding.ctc_greedy([logits])[0].tolist() == expected
        assert decoding.ctc_beam_search([logits])[0][0].tokens.tolist() == expected


def test_the_sum_over_paths_may_prefer_another_labelling_than_the_likeliest_path():
    """Blank twice is the likeliest path, but a symbol at either step or both is likelier (Hannun, 2017)."""
    logits = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))
    assert decoding.ctc_greedy([logits])[0].tolist() == []
    best = decoding.ctc_beam_search([logits])[0][0]
    assert best.tokens.tolist() == [1] and math.exp(best.score) == pytest.approx(0.64)


def test_ctc_greedy_is_the_labelling_of_the_likeliest_path():
    logits = ctc_logits(30, 5, 4)
    for blank in range(4):
        found = decoding.ctc_greedy(logits, blank=blank)
        assert [tuple(own) for own in found] == [labelling(logits[:, b].argmax(axis=1), blank) for b in range(5)]
        assert all(own.dtype == np.int64 for own in found)


def test_padding_is_not_read_and_a_list_is_the_same():
    logits, lengths = ctc_logits(7, 3, 4), [7, 0, 3]
    rows = [logits[:n, b].copy() for b, n in enumerate(lengths)]
    for b, n in enumerate(lengths):
        logits[n:, b] = np.nan
    assert [own.tolist() for own in decoding.ctc_greedy(logits, lengths)] == [
        own.tolist() for own in decoding.ctc_greedy(rows)]
    for padded, own in zip(
        decoding.ctc_beam_search(logits, lengths), decoding.ctc_beam_search(rows), strict=True
    ):
        assert [(one.tokens.tolist(), one.score) for one in padded] == [(one.tokens.tolist(), one.score) for one in own]


def test_impossible_symbols_are_not_found():
    logits = np.array([[0.0, -np.inf, 0.0]] * 3)
    (found,) = decoding.ctc_beam_search([logits], width=100)
    assert {tuple(one.tokens) for one in found} == {(), (2,), (2, 2)}
