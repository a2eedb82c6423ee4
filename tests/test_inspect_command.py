"""`fastrnn inspect`: what it prints is what `fastrnn.inspect` says of the model, and its picture shows the same."""

import re

import numpy as np
import pytest
from charlm_tools import TEXT, everything, save_model

import fastrnn
from fastrnn import gradcheck, inspect
from fastrnn.cells import CELLS
from fastrnn.charlm import checkpoint
from fastrnn.charlm.reach import MOST_WINDOWS, of_fresh_cells, of_model, windows
from fastrnn.cli import main
from fastrnn.cli.inspect import figure

CELL_NAMES = tuple(CELLS)


def call(capsys, *words):
    code = main.main(["inspect", *map(str, words)])
    return (code, *capsys.readouterr())


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_the_tables_are_what_inspect_says(folder, capsys, cell):
    model, vocabulary = save_model("model.safetensors", cell=cell, layers=2)
    code, out, err = call(capsys, "model.safetensors", "text.txt", "--steps", 30)
    assert code == 0 and err == ""
    first, second, *_ = out.splitlines()
    assert first == f"{cell} 2x16, 14 characters; 16 windows of 30 characters"
    assert second == "first number that is not finite: none"
    codes = windows(vocabulary.encode(TEXT), 30)
    _, _, tape = model.recurrent.forward(codes[:-1])
    for one in inspect.saturation(tape):
        shares = rf"{one.closed.mean():.1%} +{one.open.mean():.1%}"
        assert re.search(rf"^layer {one.layer}  {one.gate} +{shares}$", out, re.M)
    norms = of_model(model, codes)
    assert [int(word) for word in re.findall(r"^(\d+) +\d\.\de", out, re.M)] == [0, 1, 2, 5, 10, 20, 29]
    assert re.search(rf"^5 +{norms[0, 24]:.1e} +{norms[1, 24]:.1e}$", out, re.M)
    assert re.search(rf"^factor of a step +{norms[0, 0] ** (1 / 29):.3f} +{norms[1, 0] ** (1 / 29):.3f}$", out, re.M)


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_the_models_norms_are_central_differences_of_the_last_loss(cell, folder):
    """Of one layer: the gradient of a state that a run begins with is that of h after the step before."""
    model, vocabulary = save_model("model.safetensors", cell=cell, layers=1)
    codes = windows(vocabulary.encode(TEXT), 12)
    layer = type(model.recurrent)(len(vocabulary), 16, dtype="float64", seed=0)
    head = fastrnn.Linear(16, len(vocabulary), dtype="float64", seed=0)
    for wide, narrow in ((layer, model.recurrent), (head, model.head)):
        wide.load_state_dict({name: array.astype("float64") for name, array in narrow.state_dict().items()})

    def norm_before(begin):
        _, state = layer(codes[:begin])
        h, *rest = state if isinstance(state, tuple) else [state]

        def loss(h):
            y, _ = layer(codes[begin:-1], (h, *rest) if rest else h)
            return fastrnn.softmax_cross_entropy(head(y[-1]), codes[-1])[0]

        return np.linalg.norm(gradcheck.central_difference(loss, [h])[0])

    norms = of_model(model, codes)[0]
    assert norms[-1] == 1
    np.testing.assert_allclose(norms[2] / norms[10], norm_before(3) / norm_before(11), rtol=1e-6)


def test_a_model_whose_head_is_zero_has_gradients_of_zero(folder):
    model, vocabulary = save_model("model.safetensors")
    with model.head.editing() as params:
        params.flat[:] = 0
    assert not of_model(model, windows(vocabulary.encode(TEXT), 12)).any()


def test_windows_are_of_the_text_and_overlap_nowhere():
    codes = np.arange(1000, dtype=np.int32)
    for steps in (9, 100, 600, 999):
        found = windows(codes, steps)
        assert found.shape == (steps + 1, min(MOST_WINDOWS, 1000 // (steps + 1)))
        assert (np.diff(found, axis=0) == 1).all()
        assert (np.diff(found[0]) > steps).all()
        assert found[0, 0] == 0 and (found.shape[1] == 1 or found[-1, -1] == 999)


def test_fresh_cells_vanish_and_explode_as_their_radius_says():
    codes = np.random.default_rng(0).integers(10, size=(101, 4)).astype(np.int32)
    first = {name: norms[0] for name, norms in of_fresh_cells(codes, 10, 16).items()}
    assert {name.split()[0] for name in first} == {row.name for row in CELLS.values()}
    assert first["RNN tanh, radius 0.5"] < 0.5**99
    assert first["RNN tanh, radius 0.5"] < first["RNN tanh"] < 1 < first["RNN tanh, radius 1.5"]
    assert first["LSTM"] > first["RNN tanh, radius 0.5"]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_plot_draws_a_picture_that_is_known_again(folder, capsys, ending):
    pytest.importorskip("matplotlib")
    save_model("model.safetensors")
    words = ("model.safetensors", "text.txt", "--steps", 20, "--plot", f"look.{ending}")
    assert call(capsys, *words)[0] == 0
    first = (folder / f"look.{ending}").read_bytes()
    assert b"drawn by fastrnn" in first
    code, _, err = call(capsys, *words)  # its own is replaced
    assert code == 0 and err == ""
    assert not list(folder.glob("*.previous.*"))


def test_the_picture_shows_every_line_from_the_last_step_back():
    pytest.importorskip("matplotlib")
    norms = np.array([[1e-20, 0.5, 1.0], [0.25, 0.5, 1.0]])
    drawing = figure("a model", norms, "fresh", {"down": np.array([0.0, 0.1, 1.0]), "up": np.array([1e20, 10.0, 1.0])})
    left, right = drawing.axes
    assert [line.get_ydata().tolist() for line in left.get_lines()] == norms[:, ::-1].tolist()
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["layer 0", "layer 1"]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["up", "down"]
    assert left.get_ylim() == (0.5e-12, 2.0) and right.get_ylim() == (0.5e-12, 2e12)
    assert left.get_yscale() == "log" and left.get_xlim() == (0, 2)


def test_a_model_with_dropout_is_looked_at_without_it(folder, capsys):
    save_model("model.safetensors", layers=2, dropout=0.5)
    first, second = (call(capsys, "model.safetensors", "text.txt") for _ in range(2))
    assert first == second and first[0] == 0


def test_numbers_that_are_not_finite_are_said(folder, capsys):
    """R h of a GRU's candidate overflows, and its reset gate is 0: the product is NaN."""
    model, vocabulary = save_model("model.safetensors", cell="gru", layers=1)
    with model.recurrent.editing() as params:
        params["bias_ih_l0"][32:] = 9
        params["bias_ih_l0"][16:32] = -9  # h = n
        params["weight_hh_l0"][[1, 33]] = [[-1000], [3e38]]  # r and n of unit 1
    checkpoint.save("model.safetensors", model, vocabulary)
    code, out, _ = call(capsys, "model.safetensors", "text.txt", "--steps", 20)
    assert code == 0
    assert re.search(r"^first number that is not finite: layer 0, step 1, row 0: gate n is nan at 1$", out, re.M)


@pytest.mark.parametrize("words, said", [
    (["text.txt", "--steps", "1"], "--steps is 1; expected at least 2"),
    (["text.txt", "--steps", "1520"], "the text has 1520 characters that the model knows; expected at least 1521, or"),
    (["other.txt"], "the text has 1 character"),
    (["text.txt", "--plot", "look.txt"], "--plot is 'look.txt'; expected the ending .png, .svg"),
    (["text.txt", "--plot", "nowhere/look.png"], "nowhere/look.png: cannot be written there: no such folder"),
    (["text.txt", "--threads", "0"], "--threads is 0; expected at least 1"),
])  # fmt: skip
def test_every_error_is_one_line_and_nothing_is_written(folder, capsys, words, said):
    if "--plot" in words:
        pytest.importorskip("matplotlib")
    save_model("model.safetensors")
    (folder / "other.txt").write_text("Z")
    before = everything(folder)
    code, out, err = call(capsys, "model.safetensors", *words)
    assert (code, out) == (1, "")
    assert err.startswith("fastrnn: ") and err.count("\n") == 1
    assert said in err or "other.txt" in words
    assert everything(folder) == before


def test_the_text_is_not_where_the_picture_goes(folder, capsys):
    pytest.importorskip("matplotlib")
    save_model("model.safetensors")
    (folder / "text.png").write_text(TEXT)
    code, _, err = call(capsys, "model.safetensors", "text.png", "--plot", "text.png")
    assert code == 1 and err.startswith("fastrnn: text.png: the picture would go there, which is the input text.png")
