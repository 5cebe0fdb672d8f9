"""Copies of the published file for other hosts: uploaded to a folder of objects, and fetched.

current.json                  which generation is the newest: the last thing that is written
manifests/<generation>.json   what it is made of (etl.contracts.manifest)
blocks/<SHA-256>              one block, compressed (zstd); one that two generations have in
                              common lies there once
"""

from etl.base.errors import EtlError


class ReplicaError(EtlError):
    """What is wrong with the other side, and the remedy. No address or path: /health shows it.

    detail: what the log may say beside it.
    """

    def __init__(self, message: str, detail: object = "") -> None:
        super().__init__(message)
        self.detail = str(detail).splitlines()[0] if str(detail) else ""
