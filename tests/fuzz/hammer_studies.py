"""Reads bad studies as `harness check` does: hammer_studies.py shapes | COUNT SEED."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from hammer import hammer, tell
from hard_shapes import hard_shapes
from odd_studies import SHIPPED, odd_studies

from harness.cli.studies import every_profile, load
from harness.errors import HarnessError

NO_DATA = Path("no data")


def read(text: str) -> None:
    """As `harness check odd.yaml`."""
    Path("odd.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    for loaded in every_profile("odd.yaml", None, None, None, NO_DATA):
        loaded.runs()


def warm_up() -> None:
    """Import what studies make the harness import, so that it counts for none of them."""
    import timm  # noqa: F401

    import harness.pml  # noqa: F401
    from harness.registry import REGISTRIES

    for registry in REGISTRIES.values():
        for name in registry.names():
            registry.schema(name)
    for file in SHIPPED.glob("*.yaml"):
        with suppress(HarnessError):
            load(str(file), None, None, None, NO_DATA)


def main() -> None:
    warm_up()
    if sys.argv[1] == "shapes":
        tell(hammer(hard_shapes().items(), read))
    else:
        texts = odd_studies(int(sys.argv[1]), int(sys.argv[2]))
        tell(hammer(((text, text) for text in texts), read))


if __name__ == "__main__":
    main()
