"""Makes a database as users of the Python package sqlite-vss have it."""

import json
import sqlite3
import struct
import sys

import sqlite_vss

connection = sqlite3.connect(sys.argv[1])
connection.enable_load_extension(True)
sqlite_vss.load(connection)
connection.execute(
    "CREATE VIRTUAL TABLE articles USING vss0("
    'headline(3), body(384) factory="Flat,IDMap2" metric_type=INNER_PRODUCT, '
    'lists(2) factory="IVF2,Flat,IDMap2")'
)
rows = [
    (row, [row, row + 0.5, -row], [row / 1024 + value for value in range(384)], [row % 7, row])
    for row in range(1, 101)
]
with connection:
    connection.executemany(
        "INSERT INTO articles(operation, lists) VALUES ('training', ?)",
        [(json.dumps(row[3]),) for row in rows],
    )
with connection:
    connection.executemany(
        "INSERT INTO articles(rowid, headline, body, lists) VALUES (?, ?, ?, ?)",
        [(row[0], *map(json.dumps, row[1:])) for row in rows],
    )
with connection:
    connection.execute("DELETE FROM articles WHERE rowid % 10 = 0")

# The extension takes values that nobody can search for.
connection.execute("CREATE TABLE articles_text (id INTEGER PRIMARY KEY, body)")
connection.executemany(
    "INSERT INTO articles_text VALUES (?, ?)",
    ((row, f"article {row}") for (row,) in connection.execute("SELECT rowid FROM articles").fetchall()),
)
connection.execute("CREATE VIRTUAL TABLE spoilt USING vss0(v(3))")
connection.execute("CREATE TABLE spoilt_text (id INTEGER PRIMARY KEY, body)")
inf, nan = float("inf"), float("nan")
spoilt = [
    ([1, 0, 0], "the ferry leaves at noon"),
    ([1, inf, 0], "an infinite value"),
    ([1, 0, nan], "no number"),
    ([0, 1, 0], "x" * (1024 * 1024 + 1)),
    ([0, 1, 0], None),
    ([0, 1, 0], " "),
    ([3e38, 3e38, 0], "too long a vector"),
    ([0, 0, 1], "apples"),
]
with connection:
    for row, (vector, text) in enumerate(spoilt, 1):
        raw = struct.pack("<3f", *vector)
        connection.execute("INSERT INTO spoilt(rowid, v) VALUES (?, ?)", (row, raw))
        connection.execute("INSERT INTO spoilt_text VALUES (?, ?)", (row, text))
with connection:
    connection.execute("INSERT INTO spoilt(rowid, v) VALUES (9, '[1, 1e39, 0]')")
# Nor does SQLite look at what stands where texts should.
with connection:
    for row, value in enumerate(["12.5", "x'676966'", "CAST(x'616263ff' AS TEXT)"], 10):
        connection.execute("INSERT INTO spoilt(rowid, v) VALUES (?, '[0, 1, 1]')", (row,))
        connection.execute(f"INSERT INTO spoilt_text VALUES (?, {value})", (row,))
connection.close()
