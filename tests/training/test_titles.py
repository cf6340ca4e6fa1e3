"""The titles that a network learns to predict."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.networks import outputs_of
from helpers.training_runs import train_in
from torch.nn import functional as F

from marketplace.models.checkpoints import Checkpoint, load, network_of, save
from marketplace.settings import Settings
from marketplace.training.data import TrainingData
from marketplace.training.titles import embed_titles

NAMES = ["A ripe tomato", "A green frog", "The deep blue sea"]  # of the three colours of the fixture `data`


def test_distinct_titles_are_embedded_once(sentence_model: Path) -> None:
    titles = embed_titles(["Oak table", "", "A red <b>lamp</b>", "Oak  table"], sentence_model)
    assert titles is not None
    assert titles.of_photo.tolist() == [1, -1, 0, 1]
    np.testing.assert_allclose(titles.vectors.norm(dim=1), 1, atol=1e-5)


@pytest.mark.parametrize("names", [["", ""], ["Same", "same ", "Same"][:1] * 3])
def test_titles_that_tell_nothing_apart_are_left_out_with_a_line(
    names: list[str], sentence_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert embed_titles(names, sentence_model) is None
    assert "titles are not predicted" in caplog.text


def test_a_network_learns_to_predict_titles_from_photos(
    start: Checkpoint, data: TrainingData, settings: Settings, sentence_model: Path, tmp_path: Path
) -> None:
    titles = embed_titles([NAMES[label] for label in data.train.labels.tolist()], sentence_model)
    assert titles is not None
    train_settings = settings.train.model_copy(update={"batch_size": 12, "contrastive_weight": 0.0})
    best = train_in(start, replace(data, titles=titles), train_settings, tmp_path, epochs=6)
    save(tmp_path / "best.pt", best)
    network = network_of(load(tmp_path / "best.pt"), len(data.categories))
    assert network.title is not None
    with torch.inference_mode():
        embeddings = torch.from_numpy(outputs_of(network, data.images).embeddings[data.val.rows])
        predicted = F.normalize(network.title(embeddings)) @ titles.vectors.T
    nearest = predicted.argmax(dim=1)
    row_of_label = dict(zip(data.train.labels.tolist(), titles.of_photo.tolist(), strict=True))
    expected = torch.tensor([row_of_label[label] for label in data.val.labels.tolist()])
    assert (nearest == expected).double().mean() > 0.8
