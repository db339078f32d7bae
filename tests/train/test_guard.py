"""The guard's training: a teacher does not depend on what its pupil makes of it, and a pupil begins as its teacher's layers."""

from dataclasses import replace

import pytest
import torch
from transformers import BertConfig, BertModel

from breakfix.core.hazards import HEADS
from breakfix.export.guard_graph import GuardModel
from breakfix.train import guard as stage
from breakfix.train.guard import GuardSettings
from breakfix.train.loop import LoopSettings

TAUGHT = GuardSettings(layers=3, teacher_layers=6, teacher_loop=LoopSettings(epochs=2), taught=0.7)


def row(label, soft=None):
    told = {"input_ids": [1, 2, 3], "token_type_ids": [0, 0, 0], "labels": [label, -100, -100, 0], "hazard": -100}
    return told if soft is None else {**told, "soft": soft}


def test_a_teacher_learns_from_the_labels_alone():
    teacher = TAUGHT.teacher()
    assert teacher is not None and (teacher.layers, teacher.loop, teacher.teacher_layers) == (6, LoopSettings(epochs=2), 0)
    assert replace(TAUGHT, taught=0.2, loop=LoopSettings(epochs=9)).teacher() == teacher, "it is not trained again for that"
    assert teacher.teacher() is None


@pytest.mark.parametrize("layers", [0, 7])
def test_a_pupil_is_no_larger_than_its_teacher(layers):
    assert replace(TAUGHT, layers=layers).problems() == [
        "layers must be at least 1 and at most teacher_layers: the guard begins as its teacher's layers"
    ]


def test_the_teachers_word_counts_as_much_as_told():
    torch.manual_seed(0)
    body = BertModel(BertConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2))
    losses = {}
    for taught in (0.0, 0.5, 1.0):
        model = stage._Trainable(GuardModel(body, len(HEADS)).eval(), replace(TAUGHT, taught=taught)).eval()
        torch.manual_seed(1)
        torch.nn.init.normal_(model.guard.head.weight)
        torch.nn.init.zeros_(model.guard.head.bias)
        rows = row(1, [0.9, 0.5, 0.5, 0.1]), row(0, [0.9, 0.5, 0.5, 0.1]), row(1)
        *losses[taught], untaught = [model(**stage._collate([each]))["loss"].item() for each in rows]
        assert untaught == pytest.approx(losses[0.0][0], rel=1e-5)
    assert losses[0.0][0] != losses[0.0][1] and losses[1.0][0] == losses[1.0][1], "then the label says nothing"
    assert losses[0.5][0] == pytest.approx((losses[0.0][0] + losses[1.0][0]) / 2, rel=1e-5)
