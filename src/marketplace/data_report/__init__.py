"""What is wrong with the data: near-identical photos, doubtful labels, placeholders and rejects, to look at."""
