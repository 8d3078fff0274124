"""`fetch`: download the full Fashion-MNIST."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from suite.cli.paths import absolute


def fetch(
    folder: Annotated[
        Path | None,
        typer.Option(parser=absolute, help="Target folder; empty: the cache folder."),
    ] = None,
) -> int:
    """Download the full Fashion-MNIST (31 MB, checked by hash), for training and full splits."""
    from suite.data.images.fashion_mnist_files import download

    # torchvision sets no limit itself, so a silent server would keep the command waiting.
    socket.setdefaulttimeout(60)
    print(f"Fashion-MNIST is in {download(folder)}")
    return 0
