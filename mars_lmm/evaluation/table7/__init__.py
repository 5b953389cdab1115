"""MarS's table 7: ten quantities of orders and prices, their distributions and three-class forecasts."""
