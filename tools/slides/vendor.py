"""reveal.js from the npm registry, one pinned version, checked by its hash, with Python alone."""

import base64
import hashlib
import io
import os
import tarfile
import urllib.request
from pathlib import Path

from helpers.settings import ROOT

VERSION = "6.0.2"
INTEGRITY = "sha512-JYIg5D9aoxoaLeb84O+OvAwsKWdIavVgEDScxtYEXFCT6t6TQrhNtSgogcjdCpdLsWglhJn3zyE3fUOwiH5KEg=="
CACHE = ROOT / "build" / "cache"


class VendorError(Exception):
    """reveal.js cannot be had, or is not what was pinned."""


def reveal(*names: str, cache: Path = CACHE, integrity: str = INTEGRITY) -> list[str]:
    """The texts of the files `names` of reveal.js, from `cache` or from the registry.

    NPM_CONFIG_REGISTRY names another registry; the hash is the same for every mirror. `VendorError` says what failed.
    """
    package = _tarball(cache / f"reveal.js-{VERSION}.tgz", integrity)
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        files = [archive.extractfile(f"package/{name}") for name in names]
        return [file.read().decode("utf-8") for file in files if file]


def _tarball(path: Path, integrity: str) -> bytes:
    if path.exists() and _hash(path.read_bytes()) == integrity:
        return path.read_bytes()
    registry = os.environ.get("NPM_CONFIG_REGISTRY") or "https://registry.npmjs.org"
    url = f"{registry.rstrip('/')}/reveal.js/-/reveal.js-{VERSION}.tgz"
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            package: bytes = response.read()
    except OSError as error:
        raise VendorError(
            f"Cannot fetch {url} ({error}). The first `make slides` needs the network, or NPM_CONFIG_REGISTRY set "
            "to a mirror; later ones do not."
        ) from error
    if _hash(package) != integrity:
        raise VendorError(f"{url} is not the file that was pinned: {_hash(package)} instead of {integrity}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_bytes(package)
    os.replace(beside, path)
    return package


def _hash(data: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
