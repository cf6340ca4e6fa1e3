"""From the raw dump to training data: repair, check, group, split."""
