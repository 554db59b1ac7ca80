"""What a real storage server holds, read and changed with Google's own client."""

from typing import TYPE_CHECKING

from tasks.lib.ember.access import Access

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Bucket


def bucket(access: Access) -> "Bucket":
    from google.cloud import storage

    options = {"api_endpoint": access.endpoint}
    client = storage.Client("test", credentials=access.tokens.credentials, client_options=options)
    found: Bucket = client.bucket(access.bucket)
    return found


def blobs(access: Access, prefix: str) -> "dict[str, Blob]":
    """The objects below a prefix, by path."""
    return {blob.name.removeprefix(prefix): blob for blob in bucket(access).list_blobs(prefix=prefix)}


def contents(access: Access, prefix: str) -> dict[str, bytes]:
    return {path: blob.download_as_bytes() for path, blob in blobs(access, prefix).items()}


def put(access: Access, name: str, data: bytes, content_type: str = "text/plain") -> None:
    bucket(access).blob(name).upload_from_string(data, content_type=content_type)


def remove(access: Access, name: str) -> None:
    bucket(access).blob(name).delete()
