import pytest
from start_cases import shanghai_coding, small_model


@pytest.fixture(scope="session")
def model():
    return small_model()


@pytest.fixture(scope="session")
def coding():
    return shanghai_coding()
