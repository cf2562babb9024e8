"""hnswlib and Faiss in a process of their own, asked like all subjects: see
`benches/src/vectors/ask.rs`. What a call of Python costs is measured with an
index of few vectors, and taken off."""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

WANTED = 10
WARMING = 5
BATCH = 10_000


class Hnswlib:
    def __init__(self, folder: Path, dimensions: int) -> None:
        import hnswlib

        self.path = str(folder / "index.hnsw")
        self.index = hnswlib.Index("ip", dimensions)
        self.passes = None

    def build(self, base: np.ndarray) -> None:
        self.index.init_index(len(base), M=16, ef_construction=128, random_seed=100)
        for start in range(0, len(base), BATCH):
            rows = np.arange(start, min(start + BATCH, len(base)))
            self.index.add_items(base[rows], rows, num_threads=1)
        self.index.save_index(self.path)

    def open(self) -> None:
        self.index.load_index(self.path)

    def prepare(self, effort: int) -> None:
        self.index.set_ef(max(effort, WANTED))

    def search(self, queries: np.ndarray, threads: int = 1) -> np.ndarray:
        return self.index.knn_query(queries, WANTED, num_threads=threads)[0]


class Faiss:
    def __init__(self, folder: Path, dimensions: int) -> None:
        import faiss

        self.faiss = faiss
        self.path = str(folder / "index.faiss")
        self.index = faiss.IndexFlatIP(dimensions)

    def build(self, base: np.ndarray) -> None:
        for start in range(0, len(base), BATCH):
            self.index.add(np.ascontiguousarray(base[start : start + BATCH]))
        self.faiss.write_index(self.index, self.path)

    def open(self) -> None:
        self.index = self.faiss.read_index(self.path)

    def prepare(self, effort: int) -> None:
        pass

    def search(self, queries: np.ndarray, threads: int = 1) -> np.ndarray:
        self.faiss.omp_set_num_threads(threads)
        return self.index.search(queries, WANTED)[1]


class Server:
    def __init__(self, kind: str, sets: Path, name: str, folder: Path) -> None:
        self.dimensions = int(name.rsplit("-", 1)[1])
        self.base = np.memmap(sets / f"{name}.f32", "<f4", "r").reshape(-1, self.dimensions)
        self.queries = np.fromfile(sets / f"{name}-queries.f32", "<f4").reshape(-1, self.dimensions)
        self.folder = folder
        self.make = {"hnswlib": Hnswlib, "faiss": Faiss}[kind]
        self.subject = self.make(folder, self.dimensions)

    def build(self) -> dict:
        took = timed(lambda: self.subject.build(self.base))[1]
        size = sum(path.stat().st_size for path in self.folder.iterdir() if path.name != "small")
        zero = {"cpu_s": 0.0, "wall_s": 0.0}
        return {"rows": zero, "index": took, "rows_bytes": 0, "index_bytes": size}

    def open(self) -> dict:
        def work() -> None:
            self.subject.open()
            self.subject.prepare(64)
            self.subject.search(self.queries[:1])

        reads = disk_reads()
        took = timed(work)[1]
        answer = {"took": took, "disk_reads": disk_reads() - reads}
        self.overhead = self.call_overhead()
        return answer

    def call_overhead(self) -> tuple[float, float]:
        """The median microseconds of a call that has next to nothing to do."""
        folder = self.folder / "small"
        folder.mkdir(exist_ok=True)
        small = self.make(folder, self.dimensions)
        small.build(np.array(self.base[:WANTED]))
        small.prepare(WANTED)
        took = [timed(lambda: small.search(self.queries[:1]))[1] for _ in range(200)]
        return tuple(1e6 * statistics.median(one[name] for one in took) for name in ("cpu_s", "wall_s"))

    def search(self, first: int, count: int, effort: int, percent: int) -> dict:
        if percent != 100:
            raise ValueError("filters are not measured here")
        self.subject.prepare(effort)
        asked = [self.queries[(first + at) % len(self.queries)][None] for at in range(max(count, WARMING))]
        for query in asked[:WARMING]:
            self.subject.search(query)
        times, rows = {"cpu_us": [], "wall_us": []}, []
        for query in asked[:count]:
            found, took = timed(lambda: self.subject.search(query))
            times["cpu_us"].append(max(0.0, 1e6 * took["cpu_s"] - self.overhead[0]))
            times["wall_us"].append(max(0.0, 1e6 * took["wall_s"] - self.overhead[1]))
            rows.append(found[0].tolist())
        return {"times": times, "rows": rows}

    def together(self, look: dict, threads: int) -> dict:
        self.subject.prepare(look["effort"])
        chosen = [(look["first"] + at) % len(self.queries) for at in range(look["count"])]
        return timed(lambda: self.subject.search(self.queries[chosen], threads))[1]

    def memory(self) -> dict:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return {name: 1024 * int(status[field].split()[0]) for name, field in (("anonymous", "RssAnon"), ("mapped", "RssFile"))}


def timed(work) -> tuple:
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    done = work()
    return done, {"cpu_s": (time.process_time_ns() - cpu) / 1e9, "wall_s": (time.perf_counter_ns() - wall) / 1e9}


def disk_reads() -> int:
    return int(Path("/proc/self/io").read_text().split("\nread_bytes: ")[1].split()[0])


def main() -> None:
    kind, sets, name, folder = sys.argv[1:5]
    server = Server(kind, Path(sets), name, Path(folder))
    for line in sys.stdin:
        ask = json.loads(line)
        try:
            answer = getattr(server, ask.pop("ask"))(**ask)
        except Exception as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


main()
