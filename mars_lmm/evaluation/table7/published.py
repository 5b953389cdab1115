"""What MarS publishes: Li et al. 2024, arXiv 2409.07486, table 7."""

PUBLISHED = {
    "volatility": (0.872, 0.516),
    "spread": (0.970, 0.729),
    "order_volume": (0.957, 0.776),
    "aggressive_ratio": (0.920, 0.525),
    "buy_ratio": (0.933, 0.570),
    "return_1": (0.956, 0.684),
    "return_2": (0.936, 0.625),
    "return_3": (0.924, 0.583),
    "return_4": (0.914, 0.548),
    "return_5": (0.908, 0.531),
}
"""Distribution similarity and three-class accuracy of each row."""
