"""Files that are not the command's own are never touched: every path is checked before the first byte is written."""

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import threading

import pytest
from charlm_tools import TEXT, run, save_model, start, tiny_options

from fastrnn.charlm import checkpoint, cli, command_train, files, load, paths, progress
from fastrnn.charlm.progress import Report, append_to_log, is_log, log_path, prepare_log, read_log

OPTIONS = tiny_options(epochs=1)
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
needs_flock = pytest.mark.skipif(files.fcntl is None, reason="this system has no flock")


def everything(folder):
    """What is in a folder: every name with what it is and holds."""
    return {
        str(path.relative_to(folder)): (stat.S_IFMT(path.lstat().st_mode), content(path))
        for path in sorted(folder.rglob("*"))
    }


def content(path):
    if path.is_symlink():
        return os.readlink(path)
    return path.read_bytes() if path.is_file() else None


def train(capsys, *words):
    code = cli.main(["train", *map(str, words), *OPTIONS])
    return code, capsys.readouterr().err


def assert_refused(capsys, folder, *words, saying):
    """Exit code 1, one line that says why, and nothing has changed."""
    before = everything(folder)
    code, err = train(capsys, *words)
    assert code == 1
    assert saying in err and err.startswith("fastrnn: ") and err.count("\n") == 1
    assert everything(folder) == before


# -------------------------------------------------------------------------------- inputs stay whole


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("text.txt", "text.txt"),
        ("text.txt", "./folder/../text.txt"),
        ("notes.jsonl", "notes.safetensors"),
        ("notes.jsonl", "notes"),
        ("notes.previous.jsonl", "notes.safetensors"),
        ("notes.previous.safetensors", "notes.safetensors"),
        ("symbolic.txt", "text.txt"),
        ("text.txt", "symbolic.txt"),
        ("hard.txt", "text.txt"),
        ("text.txt", "hard.txt"),
        ("text.txt", "through/text.txt"),
        (".notes.jsonl.lock", "notes.safetensors"),
        (".notes.safetensors.fastrnn-0123abcd", "notes.safetensors"),
    ],
)
def test_a_text_is_never_written_over_or_moved(folder, capsys, text, out):
    (folder / "folder").mkdir()
    (folder / "through").symlink_to(".")
    (folder / "symbolic.txt").symlink_to("text.txt")
    os.link("text.txt", "hard.txt")
    if not (folder / text).exists():
        (folder / text).write_text(TEXT)
    if "previous" in text:  # else nothing would be moved there
        save_model(folder / "notes.safetensors")
        append_to_log("notes.jsonl", Report(1, 1, 1.0, None, 1.0, 1.0))
    assert_refused(capsys, folder, text, "--out", out, saying=text)


def test_a_text_through_standard_input_is_one_too(folder):
    before = everything(folder)
    with open("text.txt") as stream:
        process = start("train", "-", "--out", "text.txt", *OPTIONS, folder=folder, stdin=stream)
        _, err = process.communicate()
    assert process.returncode == 1
    assert "text.txt: the model would go there, which is the text -" in err
    assert everything(folder) == before


def test_the_default_text_is_protected_too(folder, capsys, monkeypatch):
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": str(folder)})
    (folder / "module.py").write_text(TEXT)
    assert_refused(capsys, folder, "--out", "module.py", saying="module.py")


def test_output_that_goes_into_the_text_is_refused(folder):
    with open("text.txt", "a") as stream:
        process = start("train", "text.txt", *OPTIONS, folder=folder, stdout=stream)
        assert "the standard output goes into the text text.txt" in process.communicate()[1]
    assert (folder / "text.txt").read_text() == TEXT


@pytest.mark.parametrize("words", [["info", "m"], ["sample", "m"], ["eval", "m", "text.txt"], ["eval", "n", "m"]])
def test_output_that_goes_into_the_model_is_refused(folder, capsys, monkeypatch, words):
    for name in ("m", "n"):
        save_model(folder / name)
    before = (folder / "m").read_bytes()
    with open("m", "a") as stream:
        monkeypatch.setattr(paths, "_STREAMS", {stream.fileno(): "the standard output"})
        assert cli.main(words) == 1
    assert "the standard output goes into the" in capsys.readouterr().err
    assert (folder / "m").read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ["--plot", "text.png"],
        ["--plot", "m.png", "--out", "m.png"],
        ["--plot", "M.PNG", "--out", "m.png"],
        ["--plot", "log.svg"],
        ["--plot", "other.png", "--out", "./folder/../other.png"],
    ],
)
def test_no_two_outputs_are_one_and_a_picture_is_no_text(folder, capsys, words):
    pytest.importorskip("matplotlib")
    (folder / "folder").mkdir()
    (folder / "text.png").symlink_to("text.txt")
    (folder / "model.jsonl").symlink_to("log.svg")
    assert_refused(capsys, folder, "text.txt", *words, saying="would go there, which is")


@pytest.mark.parametrize("out", ["hard.safetensors", "b.safetensors"])
def test_the_resumed_model_is_an_input_but_where_it_is_the_output(folder, capsys, out):
    assert train(capsys, "text.txt", "--out", "b.safetensors")[0] == 0
    assert train(capsys, "text.txt", "--out", "b.safetensors")[0] == 0
    os.link("b.previous.safetensors", "hard.safetensors")
    words = ["text.txt", "--resume", "b.previous.safetensors", "--out", out, "--epochs", "2"]
    before = everything(folder)
    code = cli.main(["train", *words])
    assert code == 1
    assert "which is the model b.previous.safetensors" in capsys.readouterr().err
    assert everything(folder) == before
    assert cli.main(["train", *words[:3], "--out", "./b.previous.safetensors", "--epochs", "2"]) == 0


# ------------------------------------------------------------------------- only regular files, links


def make_fifo(path):
    os.mkfifo(path)


def make_node(path, kind):
    try:
        os.mknod(path, 0o666 | kind, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes such nodes")


def make_null(path):
    make_node(path, stat.S_IFCHR)


def make_socket(path):
    make_node(path, stat.S_IFSOCK)


@pytest.mark.parametrize("make", [make_fifo, make_null, make_socket, os.mkdir])
@pytest.mark.parametrize("name", ["m.safetensors", "m.jsonl", "m.png", "m.previous.safetensors", "m.previous.jsonl"])
def test_what_is_no_regular_file_stays_where_it_is(folder, capsys, make, name):
    words = ["text.txt", "--out", "m.safetensors"]
    if name == "m.png":
        pytest.importorskip("matplotlib")
        words += ["--plot", "m.png"]
    if "previous" in name:
        assert train(capsys, *words)[0] == 0
    make(name)
    assert_refused(capsys, folder, *words, saying=name)
    (folder / "link.safetensors").symlink_to("m.safetensors")
    if name == "m.safetensors":
        assert_refused(capsys, folder, "text.txt", "--out", "link.safetensors", saying="link.safetensors")


@pytest.mark.parametrize("make", [make_fifo, make_null, make_socket, os.mkdir])
def test_saving_from_python_leaves_them_too(tmp_path, make):
    path = tmp_path / "m.safetensors"
    make(path)
    before = everything(tmp_path)
    with pytest.raises(files.UserError, match="expected a regular file or a new name"):
        save_model(path)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("dangling", [False, True])
def test_a_symbolic_link_stays_and_its_target_is_replaced(folder, capsys, dangling):
    (folder / "elsewhere").mkdir()
    link, target = folder / "m.safetensors", folder / "elsewhere" / "real.safetensors"
    link.symlink_to("elsewhere/real.safetensors")
    if not dangling:
        save_model(target)
    for _ in range(2):
        assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
        assert os.readlink(link) == "elsewhere/real.safetensors"
        assert load(target).training["step"] == 42
    assert load(folder / "elsewhere" / "real.previous.safetensors").training["step"] == 42
    assert cli.main(["train", "text.txt", "--resume", "m.safetensors", "--epochs", "2"]) == 0
    assert link.is_symlink() and load(target).training["step"] == 84
    assert not list(folder.rglob("*fastrnn-*")) and not list(folder.rglob("*.lock"))


def test_a_link_to_itself_or_nowhere_is_one_line(folder, capsys):
    (folder / "m.safetensors").symlink_to("m.safetensors")
    assert_refused(capsys, folder, "text.txt", "--out", "m.safetensors", saying="m.safetensors: ")
    (folder / "n.safetensors").symlink_to("no/such/folder/n.safetensors")
    assert_refused(capsys, folder, "text.txt", "--out", "n.safetensors", saying="no such folder")


# ---------------------------------------------------------------------------------- what is kept


def test_what_is_in_the_way_is_kept_also_when_another_model_goes_on(folder, capsys):
    for name in ("a", "b"):
        assert train(capsys, "text.txt", "--out", f"{name}.safetensors")[0] == 0
    model, log = (folder / "b.safetensors").read_bytes(), (folder / "b.jsonl").read_bytes()
    words = ["train", "text.txt", "--resume", "a.safetensors", "--out", "b.safetensors", "--epochs", "2"]
    assert cli.main(words) == 0
    err = capsys.readouterr().err
    for name, kept in (("b.previous.safetensors", model), ("b.previous.jsonl", log)):
        assert f"as {name}" in err
        assert (folder / name).read_bytes() == kept
    assert [report.step for report in read_log("b.jsonl")] == [84]
    assert load("a.safetensors").training["step"] == 42


@pytest.mark.parametrize("name", ["m.safetensors", "m.jsonl"])
def test_somebody_elses_file_is_kept_and_never_overwritten(folder, capsys, name):
    (folder / name).write_text("precious\n")
    kept = folder / name.replace("m.", "m.previous.")
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    assert kept.read_text() == "precious\n"
    assert_refused(capsys, folder, "text.txt", "--out", "m.safetensors", saying="fastrnn did not write it")
    assert kept.read_text() == "precious\n"


def test_somebody_elses_log_is_kept_when_a_run_goes_on(folder, capsys):
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    (folder / "m.jsonl").write_text('{"question": 1}\n')
    assert cli.main(["train", "text.txt", "--resume", "m.safetensors", "--epochs", "2"]) == 0
    assert (folder / "m.previous.jsonl").read_text() == '{"question": 1}\n'
    assert [report.step for report in read_log("m.jsonl")] == [84]


def in_the_middle(monkeypatch, action):
    """Have `action` done once, after the first line of a run's log."""
    real, waiting = progress.append_to_log, [action]

    def appended(path, report):
        real(path, report)
        if waiting:
            waiting.pop()()

    monkeypatch.setattr(progress, "append_to_log", appended)


def test_what_somebody_puts_in_the_way_while_a_run_goes_on_is_kept(folder, capsys, monkeypatch):
    def put():
        for name in ("m.safetensors", "m.jsonl"):
            (folder / name).unlink(missing_ok=True)
            (folder / name).write_text("mine")

    in_the_middle(monkeypatch, put)
    code, err = train(capsys, "text.txt", "--out", "m.safetensors", "--report-every", "20")
    assert code == 0
    assert err.count("kept the earlier m.") == 2
    assert (folder / "m.previous.safetensors").read_text() == (folder / "m.previous.jsonl").read_text() == "mine"
    assert load("m.safetensors").training["step"] == 42
    assert [report.step for report in read_log("m.jsonl")] == [40, 42]


@pytest.mark.parametrize("make", [make_fifo, os.mkdir])
def test_a_log_that_becomes_something_else_ends_no_run(folder, capsys, monkeypatch, make):
    def put():
        os.unlink("m.jsonl")
        make("m.jsonl")

    in_the_middle(monkeypatch, put)
    code, err = train(capsys, "text.txt", "--out", "m.safetensors", "--report-every", "20")
    assert code == 0
    assert err.count("lines of the log are missing from here on") == 1
    assert load("m.safetensors").training["step"] == 42


def test_a_folder_that_is_removed_while_a_run_goes_on_is_one_line(folder, capsys, monkeypatch):
    (folder / "o").mkdir()
    in_the_middle(monkeypatch, lambda: shutil.rmtree("o"))
    code, err = train(capsys, "text.txt", "--out", "o/m.safetensors", "--report-every", "20")
    assert code == 1
    saying = "o/m.safetensors: step 42 could not be saved: cannot be written there: no such folder; mend that, then"
    assert err.splitlines()[-1] == f"fastrnn: {saying} start again"


def test_a_run_that_never_saved_costs_no_earlier_log(folder, capsys, monkeypatch):
    """Its own log stays alone: moved aside, it would replace that of the earlier model."""
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    earlier = (folder / "m.jsonl").read_bytes()

    def fail():
        raise FloatingPointError("the loss is not finite")

    with monkeypatch.context() as patch:
        in_the_middle(patch, fail)
        assert train(capsys, "text.txt", "--out", "m.safetensors", "--report-every", "20")[0] == 1
    assert not (folder / "m.safetensors").exists() and (folder / "m.jsonl").read_bytes().count(b"\n") == 1
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    assert (folder / "m.previous.jsonl").read_bytes() == earlier
    assert load("m.previous.safetensors").training["step"] == 42
    assert read_log("m.jsonl")[-1].step == 42


def test_an_empty_file_is_nothing_to_keep(folder, capsys):
    (folder / "m").touch()
    assert train(capsys, "text.txt", "--out", "m")[0] == 0
    assert sorted(os.listdir()) == ["m", "m.jsonl", "text.txt"]


def test_a_picture_of_somebody_else_is_kept_and_our_own_is_replaced(folder, capsys):
    pytest.importorskip("matplotlib")
    for ending in ("png", "svg", "pdf"):
        (folder / f"p.{ending}").write_text("photo")
        for _ in range(2):
            assert train(capsys, "text.txt", "--plot", f"p.{ending}")[0] == 0
        assert (folder / f"p.previous.{ending}").read_text() == "photo"
        assert len((folder / f"p.{ending}").read_bytes()) > 1000


def test_a_picture_is_ours_by_what_it_is(folder, capsys):
    pytest.importorskip("matplotlib")
    (folder / "p.svg").write_text("my notes on what was drawn by fastrnn")
    for name in ("p.svg", "p.jpg"):
        for _ in range(3):
            assert train(capsys, "text.txt", "--plot", name)[0] == 0
    assert (folder / "p.previous.svg").read_text() == "my notes on what was drawn by fastrnn"
    assert not (folder / "p.previous.jpg").exists()


def test_what_is_set_for_matplotlib_ends_no_run(folder, capsys, monkeypatch):
    """A notebook's backend that is not installed here, a style that needs LaTeX, a size that is none."""
    pytest.importorskip("matplotlib")
    (folder / "matplotlibrc").write_text("text.usetex: true\nfont.size: 1e9\nfigure.figsize: -1, 2\n")
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    code, _, err = run("train", "text.txt", "--plot", "p.png", *OPTIONS)
    assert code == 0, err
    assert len((folder / "p.png").read_bytes()) > 1000


def test_a_picture_that_cannot_be_drawn_is_said_before_the_first_step(folder, capsys):
    pytest.importorskip("matplotlib")
    for name, saying in (("p.xyz", ".png"), ("p", ".png"), ("no/p.png", "no such folder")):
        assert_refused(capsys, folder, "text.txt", "--plot", name, saying=saying)


# ---------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("model", "log", "previous"),
    [
        ("m.safetensors", "m.jsonl", "m.previous.safetensors"),
        ("run-lr0.01", "run-lr0.01.jsonl", "run-lr0.01.previous"),
        ("m.v2.safetensors", "m.v2.jsonl", "m.v2.previous.safetensors"),
        ("a.safetensors.bak", "a.safetensors.bak.jsonl", "a.safetensors.bak.previous"),
        (".safetensors", ".jsonl", ".safetensors.previous"),
    ],
)
def test_nothing_after_a_dot_in_the_middle_is_an_ending(tmp_path, model, log, previous):
    assert log_path(tmp_path / model) == tmp_path / log
    assert paths.with_previous(tmp_path / model) == tmp_path / previous


def test_models_whose_names_have_dots_have_logs_of_their_own(folder, capsys):
    for name in ("run-lr0.01", "run-lr0.02"):
        assert train(capsys, "text.txt", "--out", name)[0] == 0
    assert sorted(os.listdir()) == ["run-lr0.01", "run-lr0.01.jsonl", "run-lr0.02", "run-lr0.02.jsonl", "text.txt"]


@pytest.mark.parametrize("length", [230, 245, 252, 255, 300, 5000])
def test_a_name_that_becomes_too_long_is_said_before_the_first_step(folder, capsys, length):
    name = "x" * (length - 12) + ".safetensors"
    if length > 230:
        assert_refused(capsys, folder, "text.txt", "--out", name, saying="File name too long")
    else:
        for _ in range(2):
            assert train(capsys, "text.txt", "--out", name)[0] == 0


@pytest.mark.parametrize("option", ["--out", "--resume", "--plot"])
@pytest.mark.parametrize("name", ["", "-", "a\0b", "folder/"])
def test_words_that_name_no_file_are_refused(folder, capsys, option, name):
    assert_refused(capsys, folder, "text.txt", option, name, saying=f"argument {option}: ")


# ----------------------------------------------------------------------------- what cannot be written


def test_a_log_that_cannot_be_written_is_said_before_the_first_step(folder, capsys, monkeypatch):
    monkeypatch.setattr(command_train, "_train", lambda *arguments: pytest.fail("a step was made"))
    os.mkdir("m.jsonl")
    assert_refused(capsys, folder, "text.txt", "--out", "m.safetensors", saying="m.jsonl: a folder")


@pytest.mark.skipif(IS_ROOT, reason="root may write everything")
@pytest.mark.parametrize("name", ["m.jsonl", "m.safetensors", "."])
def test_what_is_read_only_is_said_before_the_first_step(folder, capsys, name):
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    os.chmod(name, 0o555)
    try:
        before = everything(folder)
        assert cli.main(["train", "text.txt", "--resume", "m.safetensors", "--epochs", "2"]) == 1
        assert "read-only" in capsys.readouterr().err
        assert everything(folder) == before
    finally:
        os.chmod(name, 0o755)


@pytest.mark.parametrize("name", ["m.safetensors", "m.jsonl", "m.previous.safetensors"])
def test_somebody_elses_file_in_a_sticky_folder_is_said_before_the_first_step(folder, capsys, monkeypatch, name):
    """In /tmp, say, everybody may write a file of mode 666, but only its owner may replace it."""
    for _ in range(2):
        assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    file, above = os.stat(name), os.stat(".")
    assert paths._may_replace(file, above)
    above = os.stat_result([above.st_mode | stat.S_ISVTX, *above[1:]])
    me = above.st_uid
    assert paths._may_replace(file, above)
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    assert not paths._may_replace(file, above)
    monkeypatch.setattr(paths, "_may_replace", lambda file, above: file.st_ino != os.stat(name).st_ino)
    assert_refused(capsys, folder, "text.txt", "--out", "m.safetensors", saying="belongs to somebody else")


def test_read_only_is_what_the_system_says(folder, capsys, monkeypatch):
    """As above, for root, whom the system lets write everything."""
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    for name in ("m.jsonl", "m.safetensors", str(folder)):
        monkeypatch.setattr(os, "access", lambda path, mode, name=name: not str(path).endswith(name))
        before = everything(folder)
        assert cli.main(["train", "text.txt", "--resume", "m.safetensors", "--epochs", "2"]) == 1
        assert "read-only" in capsys.readouterr().err
        assert everything(folder) == before


def test_the_save_comes_before_the_lines_about_its_step(folder, capsys, monkeypatch):
    def lost(path, report):
        assert load("m.safetensors").training["step"] == report.step
        steps.append(report.step)
        raise OSError(errno.ENOSPC, "No space left on device")

    steps = []
    monkeypatch.setattr(progress, "append_to_log", lost)
    code, err = train(capsys, "text.txt", "--out", "m.safetensors")
    assert code == 0  # a line of the log is not worth a training run
    assert steps == [42]
    assert err.count("m.jsonl: No space left on device; lines of the log are missing from here on") == 1


def test_a_line_of_the_log_that_failed_leaves_nothing_behind(tmp_path, monkeypatch):
    path, report = tmp_path / "m.jsonl", Report(1, 1, 1.0, None, 1.0, 1.0)
    append_to_log(path, report)
    whole = path.read_bytes()
    script = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(whole) + 20},) * 2)\n"
        "from fastrnn.charlm.progress import *\n"
        f"append_to_log({str(path)!r}, Report(1, 2, 1.0, None, 1.0, 1.0))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert "File too large" in process.stderr
    assert path.read_bytes() == whole


def test_a_full_disk_is_one_line_that_says_what_to_do_and_the_old_model_stays(folder):
    assert run("train", "text.txt", *OPTIONS, "--out", "m.safetensors", folder=folder)[0] == 0
    before = (folder / "m.safetensors").read_bytes()
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from fastrnn.charlm import cli\n"
        "sys.exit(cli.main(['train', 'text.txt', '--resume', 'm.safetensors', '--epochs', '2']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert process.returncode == 1
    last = process.stderr.splitlines()[-1]
    assert last.startswith("fastrnn: m.safetensors: step 84 could not be saved: File too large; make room there")
    assert last.endswith("which is whole, with --resume m.safetensors")
    assert (folder / "m.safetensors").read_bytes() == before
    assert sorted(os.listdir()) == ["m.jsonl", "m.safetensors", "text.txt"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EIO, errno.EACCES])
def test_a_folder_that_cannot_be_flushed_is_no_error(tmp_path, monkeypatch, number):
    real = os.fsync

    def flush(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        real(handle)

    monkeypatch.setattr(os, "fsync", flush)
    save_model(tmp_path / "m.safetensors")
    load(tmp_path / "m.safetensors")


def test_a_file_that_cannot_be_flushed_is_an_error_with_its_name(tmp_path, monkeypatch):
    def fail(handle):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"Input/output error: '.*m\.safetensors'"):
        save_model(tmp_path / "m.safetensors")
    assert os.listdir(tmp_path) == []


# ------------------------------------------------------------------------------- replacing and modes


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o400])
def test_a_replaced_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "m.safetensors"
    save_model(path)
    path.chmod(mode)
    save_model(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(not IS_ROOT, reason="only root gives files away")
def test_a_replaced_file_keeps_its_owner(tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(path)
    os.chown(path, 12345, 54321)
    save_model(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


def test_threads_may_save_to_one_path(tmp_path):
    path = tmp_path / "m.safetensors"
    failures = []

    def save():
        try:
            for _ in range(20):
                files.replace_file(path, b"x" * 10_000)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=save) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert os.listdir(tmp_path) == ["m.safetensors"]


@needs_flock
def test_strays_of_dead_processes_are_taken_away_and_no_others(tmp_path):
    path = tmp_path / "m.safetensors"
    stray, other, foreign, used = (
        tmp_path / name
        for name in (
            ".m.safetensors.fastrnn-0123abcd",
            ".n.safetensors.fastrnn-0123abcd",
            ".m.safetensors.fastrnn-notes",
            ".m.safetensors.fastrnn-89abcdef",
        )
    )
    for file in (stray, other, foreign, used):
        file.touch()
    with open(used) as held:
        files.fcntl.flock(held, files.fcntl.LOCK_EX)
        files.replace_file(path, b"")
    assert sorted(tmp_path.iterdir()) == sorted([path, other, foreign, used])
    files.replace_file(path, b"")
    assert not used.exists()


# ------------------------------------------------------------------------------------------ locks


@needs_flock
@pytest.mark.parametrize("second", ["m.safetensors", "./m.safetensors", "link.safetensors", "m"])
def test_a_second_run_says_who_holds_the_model(folder, capsys, second):
    (folder / "link.safetensors").symlink_to("m.safetensors")
    save_model("m.safetensors")
    save_model("m")
    with files.held(files.lock_path(folder / "m.jsonl"), "m.safetensors"):
        code, err = train(capsys, "text.txt", "--out", second)
    assert code == 1
    assert f"{second.removeprefix('./')}: process {os.getpid()} is writing this model" in err
    assert sorted(os.listdir()) == ["link.safetensors", "m", "m.safetensors", "text.txt"]


@needs_flock
def test_a_lock_ends_with_its_process_however_it_ends(folder, capsys):
    options = tiny_options(epochs=10**6, **{"report-every": 1})
    process = start("train", "text.txt", *options, "--out", "m.safetensors", folder=folder)
    for _ in range(4):
        process.stderr.readline()
    code, err = train(capsys, "text.txt", "--out", "m.safetensors")
    assert code == 1 and f"process {process.pid} is writing this model" in err
    process.kill()
    process.communicate()
    assert (folder / ".m.jsonl.lock").exists()
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    assert not (folder / ".m.jsonl.lock").exists()


@needs_flock
def test_an_earlier_model_that_another_run_writes_is_not_overwritten(folder, capsys):
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    with files.held(files.lock_path(folder / "m.previous.jsonl"), "m.previous.safetensors"):
        code, err = train(capsys, "text.txt", "--out", "m.safetensors")
    assert code == 1
    assert "m.previous.safetensors: process" in err
    assert load("m.safetensors").training["step"] == 42


@pytest.mark.parametrize("missing", ["module", "support"])
def test_where_there_are_no_locks_training_does_without(folder, capsys, monkeypatch, missing):
    class Unsupported:
        LOCK_EX = LOCK_NB = 0

        def flock(self, *arguments):
            raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(files, "fcntl", None if missing == "module" else Unsupported())
    for _ in range(2):
        assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    names = ["m.jsonl", "m.previous.jsonl", "m.previous.safetensors", "m.safetensors", "text.txt"]
    assert sorted(os.listdir()) == names


@pytest.mark.parametrize("make", [make_fifo, make_null, make_socket, os.mkdir])
@pytest.mark.parametrize("name", [".m.jsonl.lock", ".m.previous.jsonl.lock", ".m.safetensors.fastrnn-01234567"])
def test_what_is_no_regular_file_is_no_lock_and_no_stray(folder, capsys, make, name):
    """A FIFO would be waited for without end, a device be opened and its node taken away."""
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    make(name)
    kind = stat.S_IFMT(os.lstat(name).st_mode)
    code, err = train(capsys, "text.txt", "--out", "m.safetensors")
    assert code == (1 if "lock" in name else 0)
    assert code == 0 or f"{name}: expected to be a lock" in err
    assert stat.S_IFMT(os.lstat(name).st_mode) == kind
    assert load("m.safetensors").training["step"] == 42


@needs_flock
def test_another_runs_lock_stays_where_ours_was_taken_away(tmp_path):
    lock = tmp_path / ".m.jsonl.lock"
    with files.held(lock, "m"):
        lock.unlink()
        lock.touch()
    assert lock.exists()


def test_an_empty_file_with_another_name_is_no_lock(folder, capsys):
    (folder / "empty").touch()
    os.link("empty", ".m.jsonl.lock")
    assert_refused(capsys, folder, "text.txt", "--out", "m.safetensors", saying=".m.jsonl.lock: expected")


def test_a_foreign_file_with_the_locks_name_stays(folder, capsys):
    (folder / ".m.jsonl.lock").write_text("mine")
    assert_refused(capsys, folder, "text.txt", "--out", "m.safetensors", saying=".m.jsonl.lock: expected")
    (folder / ".m.jsonl.lock").unlink()
    (folder / ".m.jsonl.lock").symlink_to("text.txt")
    assert_refused(capsys, folder, "text.txt", "--out", "m.safetensors", saying="text.txt")


# -------------------------------------------------------------------------------------------- log


def lines(*steps):
    return b"".join(
        json.dumps(dict(zip(Report.__dataclass_fields__, (1, s, 2.5, None, 9.0, 1.5), strict=True))).encode() + b"\n"
        for s in steps
    )


@pytest.mark.parametrize("tail", [b"{", b'{"epoch": 1, "st', b"\0" * 100, b"\xff\xfe", lines(30)[:-2], b"\n"])
def test_a_torn_last_line_is_cut_off(tmp_path, tail):
    path = tmp_path / "m.jsonl"
    path.write_bytes(lines(10, 20) + tail)
    assert [report.step for report in read_log(path)] == [10, 20]
    prepare_log(path)
    assert path.read_bytes() == lines(10, 20)
    append_to_log(path, Report(1, 30, 2.5, None, 9.0, 1.5))
    assert path.read_bytes() == lines(10, 20, 30)


def test_a_log_without_its_last_line_end_or_with_half_a_line_only_goes_on(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(lines(10)[:-1])
    prepare_log(path)
    assert path.read_bytes() == lines(10)
    for length in range(1, 40):
        path.write_bytes(lines(10)[:length])
        assert is_log(path)
        prepare_log(path)
        assert path.read_bytes() == b""


@pytest.mark.parametrize(
    "data",
    [
        b"not a log\n",
        b"not a log",
        b'{"text": "a"}\n',
        b"{}",
        b"[" * 100_000,
        b"\0" * 50,
        lines(1) + b"?\n" + lines(2),
        lines(1) + b"{}\n",
        lines(1) + b"note: a good run\n",
        lines(1) + b"note: a good run",
        b'{"epoch": 1, "my": "precious',
        b'{"epoch": 1, "weights": [' + b"1, " * 4000,
        lines(10).replace(b"10", b"9" * 30),
        lines(10).replace(b"2.5", b"NaN") + lines(11),
        lines(1).replace(b"1.5", b"null") * 2,
    ],
)
def test_what_is_no_log_is_left_as_it_is(tmp_path, data):
    path = tmp_path / "m.jsonl"
    path.write_bytes(data)
    for read in (read_log, prepare_log):
        with pytest.raises(progress.UserError, match="not a log"):
            read(path)
    assert path.read_bytes() == data


def test_a_run_goes_on_after_a_torn_line(folder, capsys):
    assert train(capsys, "text.txt", "--out", "m.safetensors")[0] == 0
    with open("m.jsonl", "ab") as file:
        file.write(b'{"epoch": 2, "st')
    assert cli.main(["train", "text.txt", "--resume", "m.safetensors", "--epochs", "2"]) == 0
    assert [report.step for report in read_log("m.jsonl")] == [42, 84]


# ------------------------------------------------------------------------------------------ bench


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_files_of_the_bench_follow_the_same_rules(folder, capsys, monkeypatch, option):
    from fastrnn.bench import worker

    if option == "--plot":
        pytest.importorskip("matplotlib")
    name = "b.json" if option == "--json" else "b.png"
    monkeypatch.setattr(worker, "records", lambda plan: pytest.fail("something was measured"))
    words = ["bench", "--peers", "numpy", "--cases", "1,1,8,8", option]
    for make, saying in ((make_fifo, "a FIFO"), (os.mkdir, "a folder")):
        make(name)
        assert cli.main([*words, name]) == 1
        err = capsys.readouterr().err
        assert saying in err and err.count("\n") == 1
        os.rmdir(name) if os.path.isdir(name) else os.unlink(name)
    assert cli.main([*words, "no/such/" + name]) == 1
    assert "no such folder" in capsys.readouterr().err
    for wrong in ("", "x" * 300 + name):
        assert cli.main([*words, wrong]) == 1
        assert capsys.readouterr().err.count("\n") == 1


def test_one_file_for_figures_and_picture_is_refused(folder, capsys):
    pytest.importorskip("matplotlib")
    words = ["bench", "--peers", "numpy", "--cases", "1,1,8,8", "--json", "b.png", "--plot", "./b.png"]
    assert cli.main(words) == 1
    assert "the picture would go there, which is the table of figures" in capsys.readouterr().err


def test_figures_of_the_bench_keep_what_is_not_theirs(folder, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    from fastrnn.bench import command, worker

    case = {
        "kind": "case", "mode": "inference", "cell": "lstm", "batch": 1, "time": 2, "inputs": 3, "hidden": 4,
        "layers": 1, "name": "lstm 1,2,3,4", "call": "layer", "cores": 1, "flop": 1.0, "ratio": 2.0, "gflops": 1.0,
        "share": 0.5,
        "timings": {"fastrnn": {"median": 1.0}, "numpy": {"median": 2.0}}, "best_peer": "numpy", "bound_seconds": 0.5,
        "limit": "FMA", "failed": {"torch": "two\nlines \x1b[31m"},
    }  # fmt: skip
    machine = {
        "kind": "machine", "cores": 1, "processor": "any", "isa": "any", "sizes": {}, "bandwidth": {},
        "barrier_ns": 0.0, "fma_gflops": 1.0,
    }  # fmt: skip
    monkeypatch.setattr(worker, "records", lambda plan: iter([machine, case]))
    monkeypatch.setattr(sys, "argv", ["fastrnn", "bench"])
    (folder / "b.json").write_text("precious")
    (folder / "b.png").write_text("photo")
    for _ in range(2):
        words = ["bench", "--peers", "numpy", "--cases", "1,1,8,8", "--json", "b.json", "--plot", "b.png"]
        assert cli.main(words) == 0
        out = capsys.readouterr().out
        assert r"torch left out: two\nlines \x1b[31m" in out
    assert (folder / "b.previous.json").read_text() == "precious"
    assert (folder / "b.previous.png").read_text() == "photo"
    assert json.loads((folder / "b.json").read_text())["records"] == [case]
    assert command.json_file("b.json").ours(folder / "b.json")
    assert checkpoint.is_model("b.json") is False
