"""From the words of a listing to vectors: by meaning, and by spelling."""
