"""Losses element by element, each with its gradient.

EQUATIONS
outputs z (...), targets y (...) of real numbers; l is the loss of one element, whose mean is the loss

binary        F1  l = w y log(1 + e^-z) + (1 - y) log(1 + e^z)           y in 0..1, w the weight of positives
              B1  dl/dz = sigmoid(z) (1 - y + w y) - w y
squared       F2  l = (z - y)^2
              B2  dl/dz = 2 (z - y)
Huber         F3  l = e^2 / 2 if |e| <= delta else delta (|e| - delta / 2)    e = z - y
              B3  dl/dz = e clipped to -delta..delta

outputs (..., 2 F): F numbers a, then F numbers b for the targets (..., F)

Gaussian      F4  s = log(1 + e^b) + floor
              F5  l = ((y - a) / s)^2 / 2 + log s + log(2 pi) / 2
              B4  dl/da = (a - y) / s^2
              B5  dl/db = (1 - ((y - a) / s)^2) / s sigmoid(b)
negative      F6  m = log(1 + e^a) + floor, 1/r = log(1 + e^b) + floor
binomial      F7  l = log G(r) + log G(y + 1) - log G(r + y) - r log(r / (r + m)) - y log(m / (r + m))    G: Gamma
              B6  dl/da = r (m - y) / (m (r + m)) sigmoid(a)
              B7  dl/dr = D(r) - D(r + y) + log(1 + m/r) + (y - m) / (r + m)                D: digamma
              B8  dl/db = -r^2 dl/dr sigmoid(b)
END

The last two are those of Salinas et al. 2020 (DeepAR), with a small floor below what must not be 0.
"""

import math

import numpy as np


def softplus(x):
    """log(1 + e^x) by log(1 + e) = 2 artanh(e / (2 + e)): of complex numbers NumPy's log1p loses digits."""
    positive = x.real > 0
    e = np.exp(np.where(positive, -x, x))
    return np.where(positive, x, 0) + 2 * np.arctanh(e / (2 + e))


def sigmoid(x):
    """The derivative of softplus."""
    return np.exp(-softplus(-x))


def log_gamma(x):
    """log Gamma(x) for x > 0: raised to 10 by Gamma(x + 1) = x Gamma(x), then Stirling's series."""
    x = np.array(x)
    raised = 0
    while (low := x.real < 10).any():
        raised = raised + np.where(low, np.log(x), 0)
        x = x + low
    series = sum(c / x**n for n, c in ((1, 1 / 12), (3, -1 / 360), (5, 1 / 1260), (7, -1 / 1680), (9, 1 / 1188),
                                       (11, -691 / 360360), (13, 1 / 156)))
    return (x - 0.5) * np.log(x) - x + math.log(2 * math.pi) / 2 + series - raised


def digamma(x):
    """The derivative of log Gamma, by the same means."""
    x = np.array(x)
    raised = 0
    while (low := x < 10).any():
        raised = raised + np.where(low, 1 / x, 0)
        x = x + low
    series = sum(c / x**n for n, c in ((1, -1 / 2), (2, -1 / 12), (4, 1 / 120), (6, -1 / 252), (8, 1 / 240),
                                       (10, -1 / 132), (12, 691 / 32760), (14, -1 / 12)))
    return np.log(x) + series - raised


def binary_cross_entropy(logits, targets, positive_weight=1.0):
    """Mean loss and its gradient, both of logits (...)."""
    positive, negative = positive_weight * targets, 1 - targets
    loss = positive * softplus(-logits) + negative * softplus(logits)  # F1
    return loss.mean(), (sigmoid(logits) * (positive + negative) - positive) / targets.size  # B1


def squared_error(outputs, targets):
    """Mean loss and its gradient, both of outputs (...)."""
    error = outputs - targets
    return (error * error).mean(), 2 * error / targets.size  # F2, B2


def huber_loss(outputs, targets, delta=1.0):
    """Mean loss and its gradient, both of outputs (...)."""
    error = outputs - targets
    size = np.where(error.real < 0, -error, error)
    loss = np.where(size.real <= delta, error * error / 2, delta * (size - delta / 2))  # F3
    return loss.mean(), np.clip(error.real, -delta, delta) / targets.size  # B3


def gaussian_nll(outputs, targets, floor=1e-6):
    """Mean loss and its gradient, of outputs (..., 2 F)."""
    a, b = np.split(outputs, 2, axis=-1)
    s = softplus(b) + floor  # F4
    error = (a - targets) / s
    loss = error * error / 2 + np.log(s) + math.log(2 * math.pi) / 2  # F5
    gradient = [error / s, (1 - error * error) / s * sigmoid(b)]  # B4, B5
    return loss.mean(), np.concatenate(gradient, axis=-1) / targets.size


def negative_binomial_nll(outputs, targets, floor=1e-6):
    """Mean loss and its gradient, of outputs (..., 2 F)."""
    a, b = np.split(outputs, 2, axis=-1)
    m, r = softplus(a) + floor, 1 / (softplus(b) + floor)  # F6
    y = targets
    loss = log_gamma(r) + log_gamma(y + 1) - log_gamma(r + y) - r * np.log(r / (r + m)) - y * np.log(m / (r + m))  # F7
    da = (r * (m - y) / (m * (r + m)) * sigmoid(a)).real  # B6
    dr = digamma(r.real) - digamma(r.real + y) + (np.log(1 + m / r) + (y - m) / (r + m)).real  # B7
    db = -(r.real**2) * dr * sigmoid(b).real  # B8
    return loss.mean(), np.concatenate([da, db], axis=-1) / targets.size
