"""The feed view by order id: from messages about resting orders to order flow, and the proof that it is right."""
