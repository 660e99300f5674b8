"""One-off scripts that made the shipped weights, cards and floors; nothing imports them."""
