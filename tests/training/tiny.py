"""A model that trains in a second."""

from mars_lmm.models.order_model import OrderModelConfig
from mars_lmm.training.optimizers import OptimConfig

ROW_LENGTH = 16
MODEL = OrderModelConfig(width=16, layers=1, heads=2, window=8, head="fields")
OPTIM = OptimConfig(learning_rate=3e-3)
