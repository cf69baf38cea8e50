"""What kind of file system a path lies on: SQLite's write-ahead log and its locks cannot be trusted over a network."""

from __future__ import annotations

import os
from pathlib import Path

_NETWORK = {
    *("nfs", "nfs4", "lustre", "gpfs", "beegfs", "beegfs_nodev", "panfs", "pvfs2", "orangefs", "ceph", "glusterfs"),
    *("cifs", "smb2", "smb3", "smbfs", "9p", "virtiofs", "afs", "coda", "ncpfs", "fhgfs"),
}


def filesystem_of(path: Path, mounts: str = "/proc/self/mounts") -> str:
    """The type of the file system, such as `ext4` or `nfs4`; `unknown` where the system does not tell."""
    try:
        lines = Path(mounts).read_text(errors="surrogateescape").splitlines()
    except OSError:
        return "unknown"
    place = os.path.realpath(path)
    best, found = -1, "unknown"
    for line in lines:
        _, mount, kind, *_ = line.split(" ")
        mount = _unescaped(mount)
        # Later lines are mounted over earlier ones.
        if len(mount) >= best and _is_below(place, mount):
            best, found = len(mount), kind
    return found


def is_network(kind: str) -> bool:
    """Whether other hosts may have the same files open; what runs in user space (sshfs, bindfs) counts as such."""
    return kind in _NETWORK or kind.startswith("fuse")


def _is_below(place: str, mount: str) -> bool:
    return place == mount or place.startswith(mount.rstrip("/") + "/")


def _unescaped(mount: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        mount = mount.replace(code, character)
    return mount
