"""What people call similar: their judgements, the metrics of a ranking by them, and how certain these are."""
