"""The client of the Hugging Face hub on machines without a network."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit


def stay_offline_without_network() -> None:
    """Restrict the hub client to its cache if the name of its host cannot be resolved.

    Without this the client retries for a minute before it fails. Behind a proxy nothing is changed, because names need
    not resolve on this machine there.
    """
    import huggingface_hub.constants as hub

    proxied = any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"))
    host = urlsplit(hub.ENDPOINT).hostname
    if proxied or not host:
        return
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        hub.HF_HUB_OFFLINE = True
