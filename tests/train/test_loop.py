"""What the training stages share: order, checkpoints, settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakfix.core import recipe
from breakfix.core.errors import RecipeError
from breakfix.train import loop
from breakfix.train.loop import LoopSettings


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 2)), max_size=120), st.integers(0, 3))
def test_pairs_share_a_step_and_no_row_is_lost(told, seed):
    units = [[(n, length, half) for half in range(size)] for n, (length, size) in enumerate(told)]
    ordered = loop.in_batches(units, lambda row: row[1], LoopSettings(batch_rows=8, seed=seed))
    assert sorted(ordered) == sorted(row for unit in units for row in unit)
    step_of = {row: index // 8 for index, row in enumerate(ordered)}
    assert all(step_of[unit[0]] == step_of[unit[-1]] for unit in units)


def test_the_order_depends_on_the_seed_alone():
    units = [[(n, n % 7)] for n in range(50)]
    once, again, other = (loop.in_batches(units, lambda row: row[1], LoopSettings(seed=seed)) for seed in (1, 1, 2))
    assert once == again != other


def test_a_checkpoint_cut_short_is_passed_over(tmp_path):
    for step, state in ((20, "{}"), (40, '{"global_step": 4'), (100, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert loop._last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-20")
    assert loop._last_whole_checkpoint(tmp_path / "nowhere") is None


def test_settings_that_cannot_train_are_refused_together():
    with pytest.raises(RecipeError) as caught:
        recipe.build(LoopSettings, {"batch_rows": 3, "learning_rate": 0.0, "save_steps": 0}, "x.yaml")
    assert len(caught.value.problems) == 3
