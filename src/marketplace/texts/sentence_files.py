"""A sentence model as a folder: its network, and its tokenizer.

The network takes token ids `(N, L) int64`, filled up with the tokenizer's padding, and gives vectors `(N, D) float32`
of length 1.
"""

NETWORK = "sentence.onnx"
TOKENIZER = "tokenizer.json"
