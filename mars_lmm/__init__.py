"""Train order-level generative market models and prove them by simulation."""

__version__ = "0.1.0"
