"""From vectors to similar products: filters, ranking, the index, metrics and reports."""
