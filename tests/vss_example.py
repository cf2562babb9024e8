"""Makes a database as users of the Python package sqlite-vss have it."""

import json
import sqlite3
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
connection.close()
