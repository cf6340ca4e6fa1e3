from pathlib import Path

import numpy as np
import onnxruntime
import torch
from helpers.paths import ROOT
from torch import nn

from marketplace.training.onnx_export import write_onnx


def exported(path: Path) -> Path:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)).eval()
    example = torch.zeros(2, 3, 8, 8)
    write_onnx(path, network, example, input_name="images", output_names=["values"], dynamic_axes={0: "N"})
    return path


def test_a_network_gives_the_same_bytes_without_local_paths(tmp_path: Path) -> None:
    content = exported(tmp_path / "one.onnx").read_bytes()
    assert exported(tmp_path / "another.onnx").read_bytes() == content
    for folder in (ROOT, Path(torch.__file__).parent):
        assert str(folder).encode() not in content


def test_a_dynamic_axis_takes_any_length(tmp_path: Path) -> None:
    session = onnxruntime.InferenceSession(exported(tmp_path / "network.onnx"))
    images = np.random.default_rng(0).standard_normal((5, 3, 8, 8), dtype=np.float32)
    together = session.run(["values"], {"images": images})[0]
    alone = [session.run(["values"], {"images": image[None]})[0][0] for image in images]
    np.testing.assert_allclose(together, alone, atol=1e-6)
