"""Preparation on a Ray cluster of two nodes, on this machine."""

from dataclasses import replace

import pytest
from test_prepare import files

from mars_lmm.data.prepare import prepare

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster():
    ray = pytest.importorskip("ray", reason="pip install 'mars-lmm[ray]'")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="warning")
    yield ray
    ray.shutdown()
    cluster.shutdown()


def test_two_nodes_prepare_the_same_set(cluster, small_data, small_set, tmp_path):
    assert len(cluster.nodes()) == 2
    prepared = prepare(replace(small_data, root=str(tmp_path), executor="ray"))
    expected = {name: content for name, content in files(small_set.path).items() if ".arrow" not in str(name)}
    assert files(prepared.path) == expected


def test_an_error_on_a_node_is_the_error_here(cluster, small_data, tmp_path):
    from mars_lmm.data.errors import DataError

    bad = tmp_path / "TEST_2024-01-02_34200000_57600000_message_1.csv"
    bad.write_text("34200.1,1,1,100,1000000,1\n34200.2,1,2,100,oops,1\n")
    bad.with_name(bad.name.replace("message", "orderbook")).write_text("1000100,1,1000000,100\n1000100,1,1000000,200\n")
    config = replace(small_data, feed="lobster", path=str(tmp_path), cutoff="12:00")
    config = replace(config, root=str(tmp_path / "x"), executor="ray")
    with pytest.raises(DataError, match=r"message_1.csv, row 2: malformed row: column 5: 'oops' is not an integer"):
        prepare(config)
