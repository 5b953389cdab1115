from pathlib import Path

import torch

from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.simulation.agents import order_flow, protocol
from mars_lmm.simulation.agents.bootstrap import BootstrapAgent
from mars_lmm.simulation.agents.user_file import load_agent
from mars_lmm.simulation.running.identity import file_checksum, source_checksums, weights_checksum

AGENT = """from mars_lmm.simulation.agents.noise import NoiseAgent


class Mine(NoiseAgent):
    pass
"""


def test_the_files_of_base_classes_count():
    found = source_checksums(BootstrapAgent)
    assert len(found) == 3
    for module in (order_flow, protocol):
        assert file_checksum(Path(module.__file__)) in found


def test_a_users_own_file_counts(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(AGENT)
    found = source_checksums(load_agent("agent", str(file)))
    assert found[0] == file_checksum(file)
    assert found[1:] == source_checksums(load_agent("agent", str(file)).__base__)


def test_one_weight_changes_the_checksum():
    torch.manual_seed(0)
    model = OrderModel(OrderModelConfig(width=16, layers=1, heads=2, window=16))
    before = weights_checksum(model)
    assert weights_checksum(model) == before
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-6
    assert weights_checksum(model) != before
