import pytest
import torch

from mars_lmm.models import OrderModel, OrderModelConfig

BINS = (3, 4, 5, 2)
VOCABULARY = 3 * 4 * 5 * 2
WINDOW = 16
NUM_MARKET = 42


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Threads cost more than they give on tensors this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_model():
    """A small model whose random weights are large enough for every order in the window to show."""

    def make(bins=BINS, **overrides) -> OrderModel:
        shape = {"width": 32, "layers": 2, "heads": 4, "window": WINDOW} | overrides
        torch.manual_seed(0)
        model = OrderModel(OrderModelConfig(**shape), bins=bins).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        return model

    return make


@pytest.fixture
def make_orders():
    """Random tokens [B, T] and market features [B, T, 42]."""

    def make(batch, length, vocabulary=VOCABULARY, seed=0) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        token = torch.randint(vocabulary, (batch, length), generator=generator)
        market = torch.randint(32, (batch, length, NUM_MARKET), generator=generator).to(torch.int16)
        market[..., 0] = torch.randint(-2000, 2001, (batch, length), generator=generator)
        market[..., 1] = torch.randint(1440, (batch, length), generator=generator)
        return token, market

    return make
