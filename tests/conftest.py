"""The suite runs once per instruction set: what was asked for must be what runs."""

import collections
import os
import sys

import charlm_tools
import pytest

import fastrnn


def pytest_report_header():
    config = fastrnn.config()
    return f"fastrnn: {config['isa']} of {', '.join(config['isas'])}; openmp {config['openmp']}"


def pytest_sessionstart(session):
    asked = os.environ.get("FASTRNN_ISA")
    running = fastrnn.config()["isa"]
    if asked and asked != running:
        raise pytest.UsageError(f"FASTRNN_ISA={asked} was asked for, but {running} runs")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a text, for the command; its --threads end with the test."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(charlm_tools.TEXT)
    before = fastrnn.get_num_threads()
    yield tmp_path
    fastrnn.set_num_threads(before)


@pytest.fixture
def torch_on_one_thread():
    """PyTorch's pool spins beside ours, and the shapes of tests are small."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def all_that_can_run_here_does(request):
    """Tests of the PyTorch bridge are of small calls, which PyTorch would get because it is faster."""
    if not request.module.__name__.startswith("test_torch_") or "fastrnn.torch" not in sys.modules:
        yield
        return
    from fastrnn.torch import calls

    calls.set_by_speed(False)
    yield
    calls.set_by_speed(True)


# Tests that take long: by default one case of so many runs, of 0 none. `pytest -m ""` runs all.
ONE_CASE_OF = {
    "test_bits.py::test_bits_are_those_of_every_version_before": 3,
    "test_charlm_cli.py::test_interrupt_saves_and_the_resumed_run_is_the_same": 2,
    "test_charlm_errors.py::test_hostile_values_of_every_option_are_one_line": 8,
    "test_charlm_mutations.py::test_the_command_says_one_line_about_changed_files": 4,
    "test_charlm_output.py::test_a_terminal_has_a_bar_or_lines": 4,
    "test_charlm_output.py::test_training_ends_well_whatever_the_streams_are": 3,
    "test_charlm_output.py::test_training_goes_on_without_its_streams": 3,
    "test_effects.py::test_extreme_numbers_give_what_pytorch_gives": 4,
    "test_granted_threads.py::test_a_limit_that_comes_after_a_smaller_team": 2,
    "test_granted_threads.py::test_openmp_s_own_limit_is_kept_to": 3,
    "test_granted_threads.py::test_openmp_s_stack_size_may_be_anything": 9,
    "test_granted_threads.py::test_teams_are_as_large_as_the_system_grants": 3,
    "test_interrupt.py::test_a_call_of_many_pieces_gives_the_bits_of_short_calls": 2,
    "test_interrupt.py::test_a_long_backward_run_is_interrupted": 3,
    "test_interrupt.py::test_a_long_call_is_interrupted": 4,
    "test_interrupt.py::test_a_long_linear_backward_run_is_interrupted": 2,
    "test_interrupt.py::test_a_long_step_of_a_stream_is_interrupted": 0,
    "test_layer_bits.py::test_checkpoints_change_no_bit": 5,
    "test_layer_bits.py::test_checkpoints_of_many_windows_change_no_bit": 13,
    "test_layer_bits.py::test_threads_change_no_bit": 25,
    "test_layer_options.py::test_every_option_gives_the_twins_results": 3,
    "test_layer_options.py::test_gradients_equal_central_differences_of_the_compiled_code": 7,
    "test_layer_ragged.py::test_edges_give_the_twins_results": 5,
    "test_layer_ragged.py::test_every_form_and_order_and_row_gives_the_same_bits": 5,
    "test_layer_ragged.py::test_padding_may_hold_anything": 5,
    "test_layer_torch.py::test_every_result_and_gradient_is_pytorchs": 3,
    "test_parity.py::test_integer_inputs_match_twin": 2,
    "test_reference_gradients.py::test_stack_gradients_match_complex_step": 2,
    "test_reference_options.py::test_gradients_match_complex_step": 8,
    "test_reference_options.py::test_random_combinations_match_complex_step": 0,
    "test_reference_options.py::test_random_combinations_match_pieces_by_hand": 0,
    "test_reference_options.py::test_rows_do_not_depend_on_their_order_or_on_each_other": 0,
    "test_robustness_memory.py::test_changing_shapes_do_not_grow": 0,
    "test_robustness_memory.py::test_results_stay_when_later_calls_reuse_memory": 4,
    "test_threads.py::test_a_process_with_any_openmp_variable_runs_and_warns_once_at_most": 6,
    "test_threads.py::test_fewer_threads_than_asked_for_do_all_the_work": 3,
    "test_threads.py::test_threads_really_run_when_the_work_is_worth_them": 3,
    "test_weight_versions.py::test_edits_beside_calls_are_seen": 7,
}


@pytest.hookimpl(tryfirst=True)  # before pytest looks at the marks
def pytest_collection_modifyitems(items):
    cases = collections.Counter()
    for item in items:
        test = f"{item.path.name}::{item.originalname}"
        of = ONE_CASE_OF.get(test, 1)
        if of == 0 or cases[test] % of:
            item.add_marker(pytest.mark.slow)
        cases[test] += 1
