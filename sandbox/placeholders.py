"""The sandbox's value for each expected key of the secrets: one that a real application starts with.

The application reads its secrets while it loads, and text of the wrong form stops it there.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.cloud.sql import Login
from tasks.lib.redaction import Secret

# Any text will do: it is compared, sent or signed with, and nothing in the sandbox asks for its form.
ANY = "placeholder-{random}"
REGION = ("us-east-1", "boto3 refuses what is not a host's name")
# Key: its value, and why any text will not do.
ENV_VALUES: Mapping[str, tuple[str, str]] = {
    "BUCKET_NAME": ("{bucket}-videos", "boto3 refuses what cannot be a bucket"),
    "DB_HOST": ("{prefix}gcloud-sqlproxy", "the Service of the proxy to the database"),
    "DB_NAME": ("{database}", "the database of the sandbox's Cloud SQL instance"),
    "DB_PASSWORD": ("{password}", "that of the instance's user"),
    "DB_USER": ("{user}", "the instance's user"),
    "GOOGLE_APPLICATION_CREDENTIALS": ("/etc/googleAppCreds.json", "where the manifests mount the key file"),
    "GOOGLE_TAG_MANAGER_ID": ("GTM-SANDBOX", "part of every page"),
    "GS_BUCKET_NAME": ("{bucket}", "static files and media go there, and pages name it"),
    "GS_PRIVATE_BUCKET_NAME": ("{bucket}-private", "a bucket's name"),
    "GS_PROJECT_ID": ("{project}", "the project that the bucket belongs to"),
    "JSPSYCH_S3_BUCKET": ("{bucket}-jspsych", "boto3 refuses what cannot be a bucket"),
    "JSPSYCH_S3_REGION": REGION,
    "S3_BUCKET": ("{bucket}-recordings", "boto3 refuses what cannot be a bucket"),
    "S3_REGION": REGION,
    "SECRET_KEY": ("{random}{random}", "Django warns of keys with less than 50 characters"),
    "SENTRY_DSN": (
        "https://{random}@sentry.invalid/1",
        "the client stops at text that is no DSN",
    ),
    "SENTRY_DSN_JS": ("https://{random}@sentry.invalid/2", "the browser's client does the same"),
    "rabbitmq-password": ("{random}", "part of amqp://admin:PASSWORD@host, unescaped"),
}
# The service account whose key each file holds.
KEY_FILES = {"googleAppCreds.json": "application", "cloudsql-client-creds.json": "database-client"}


@dataclass(frozen=True)
class Site:
    """What the values of one environment name.

    Args:
        prefix: before the names of all its objects.
        project: its Google project.
        bucket: for its files.
        login: to its database.
        keys: the key file of each account of KEY_FILES.

    """

    prefix: str
    project: str
    bucket: str
    login: Login
    keys: Mapping[str, Path]

    def value(self, key: str) -> str:
        """A value for the `key` of an env file; random parts are new each time."""
        named = {
            "prefix": self.prefix,
            "project": self.project,
            "bucket": self.bucket,
            "database": self.login.database,
            "user": self.login.user,
            "password": self.login.password,
            "random": secrets.token_hex(16),
        }
        return ENV_VALUES.get(key, (ANY, ""))[0].format_map(named)


def content(expected: Path, site: Site) -> Secret:
    """A secret file with values for the keys that `expected` (a `.env`, or JSON) lists; any text without."""
    if not expected.exists():
        return Secret(f"{any_text()}\n".encode())
    name = expected.name.removesuffix(".expected")
    if name.endswith(".json"):
        account = site.keys.get(KEY_FILES.get(name, ""))
        known = json.loads(account.read_text()) if account else {}
        filled = {key: known.get(key) or any_text() for key in json.loads(expected.read_text())}
        return Secret(json.dumps(filled, indent=2).encode())
    lines = [line.strip() for line in expected.read_text().splitlines()]
    keys = [line.partition("=")[0] for line in lines if line and not line.startswith("#")]
    return Secret("".join(f"{key}={site.value(key)}\n" for key in keys).encode())


def any_text() -> str:
    """A new random value without a form."""
    return ANY.format(random=secrets.token_hex(16))
