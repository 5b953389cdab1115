"""Models as plain modules: the transformer with its ring cache, and the order model."""

from mars_lmm.models.order_model import OrderModel, OrderModelConfig
from mars_lmm.models.ring_cache import RingCache

__all__ = ["OrderModel", "OrderModelConfig", "RingCache"]
