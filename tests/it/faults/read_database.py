"""Reads and copies the database of a running server with the SQLite of this Python.

Arguments: the database, a directory for the copies, and a JSON object of queries by name. Prints the
version of SQLite and, for the database and for each copy, the lines that each query returns.
"""

import json
import sqlite3
import sys


def read(connection, queries):
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
    for (table,) in tables:
        connection.execute(f'SELECT * FROM "{table}"').fetchall()
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return {name: [line for (line,) in connection.execute(query)] for name, query in queries.items()}


path, directory, queries = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
source = sqlite3.connect(path, isolation_level=None, timeout=10)
results = {"the database": read(source, queries)}

with sqlite3.connect(f"{directory}/online.db") as copy:
    source.backup(copy)
    results["the online backup"] = read(copy, queries)

source.execute("VACUUM INTO ?", (f"{directory}/vacuum.db",))
results["VACUUM INTO"] = read(sqlite3.connect(f"{directory}/vacuum.db"), queries)

restored = sqlite3.connect(":memory:")
restored.executescript("\n".join(source.iterdump()))
results["the dump"] = read(restored, queries)

print(json.dumps({"version": sqlite3.sqlite_version, "results": results}))
