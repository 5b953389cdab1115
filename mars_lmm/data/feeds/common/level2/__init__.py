"""Chinese level 2: what the feeds of Shanghai and Shenzhen share."""
