"""How probable a model finds what happened: order by order, and as forecasts by its rollouts."""
