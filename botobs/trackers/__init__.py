"""Turn what the bot reports into richer facts: orders, slippage, costs, rejections, round trips. Knows no bus."""
