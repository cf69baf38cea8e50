"""A PostgreSQL server of the tests' own: in one folder, on the loopback alone, without a service.

    python tests/store/postgres_server.py start FOLDER     prints the URL of a database to try things with
    python tests/store/postgres_server.py stop FOLDER

PostgreSQL refuses to run as root, so root starts it as the user that its package has made.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "''",
    "max_connections": 100,
    # What the tests write need not survive a power cut.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


def programs() -> Path | None:
    """The folder with initdb and pg_ctl of the newest version that is installed, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    path = found[-1] if found else shutil.which("pg_ctl")
    return Path(path).parent if path else None


def start(folder: Path) -> str:
    """Makes a server in an empty folder and starts it; gives its URL without a database. About a second."""
    port = _free_port()
    if os.geteuid() == 0:
        shutil.chown(folder, USER)
    _run("initdb", "-D", folder / "data", "-U", "test", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
    options = " ".join(f"-c {name}={value}" for name, value in {"port": port, **SETTINGS}.items())
    _run("pg_ctl", "-D", folder / "data", "-w", "-t", "60", "-l", folder / "server.log", "-o", options, "start")
    return f"postgresql+psycopg://test@127.0.0.1:{port}"


def stop(folder: Path) -> None:
    """Stops it at once; what it held is not needed any more."""
    _run("pg_ctl", "-D", folder / "data", "-m", "immediate", "-w", "stop")


def _run(program: str, *arguments: object) -> None:
    where = programs()
    assert where is not None, "PostgreSQL is not installed"
    command = [str(where / program), *map(str, arguments)]
    if os.geteuid() == 0:
        command = ["runuser", "-u", USER, "--", *command]
    # The server inherits what pg_ctl has open, so its words go to a file of its own and nobody waits for a pipe.
    done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server_database(postgresql, name="harness"):
    """The URL of a new database on the server; gone afterwards."""
    connection, url = postgresql
    connection.execute(f"create database {name}")
    try:
        yield f"{url}/{name}"
    finally:
        connection.execute(f"drop database {name} with (force)")


if __name__ == "__main__":
    action, place = sys.argv[1], Path(sys.argv[2]).absolute()
    if action == "start":
        place.mkdir(parents=True, exist_ok=True)
        print(start(place) + "/postgres")
    else:
        stop(place)
