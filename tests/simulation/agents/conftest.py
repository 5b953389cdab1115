import pytest

from mars_lmm.simulation.engine.coding import OrderCoding


@pytest.fixture(scope="session")
def coding(small_set):
    return OrderCoding(small_set.tokenizer())
