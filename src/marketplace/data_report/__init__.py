"""A report of suspicious data: near-identical photos, doubtful labels, placeholders and rejects."""
