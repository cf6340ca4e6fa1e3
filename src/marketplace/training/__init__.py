"""Fine-tuning: data, losses, the loop, its records, and resuming after an interruption."""
