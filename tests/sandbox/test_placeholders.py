"""The sandbox's secrets: a value for every expected key, of the form that an application starts with."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from google.oauth2.service_account import Credentials

from sandbox import placeholders, seed
from sandbox.cloud import sql
from sandbox.placeholders import ENV_VALUES, Site
from sandbox.state import State
from tasks.lib.secrets.expected import UNFIT
from tests.builders import ROOT, checked_in_settings

SECRETS = {name: ROOT / f"kubernetes/overlays/{name}/secrets" for name in ("staging", "production")}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> State:
    return State(tmp_path_factory.mktemp("sandbox"))


@pytest.fixture(scope="module")
def site(state: State) -> Site:
    return seed.site_of(state, checked_in_settings().environment("staging"))


@pytest.fixture(scope="module")
def env(site: Site) -> dict[str, str]:
    """What the containers see of lookit-secrets.env."""
    text = placeholders.content(SECRETS["staging"] / "lookit-secrets.env.expected", site).reveal().decode()
    return dict(line.split("=", 1) for line in text.splitlines())


def test_every_expected_key_gets_a_value(tmp_path: Path, site: Site) -> None:
    (tmp_path / "a.env.expected").write_text("# comment\nONE=\n\nTWO=\n")
    (tmp_path / "b.json.expected").write_text('{"type": ""}')

    lines = placeholders.content(tmp_path / "a.env.expected", site).reveal().decode().splitlines()
    document = json.loads(placeholders.content(tmp_path / "b.json.expected", site).reveal())

    assert [line.partition("=placeholder-")[0] for line in lines] == ["ONE", "TWO"]
    assert document["type"].startswith("placeholder-")
    assert len(placeholders.content(tmp_path / "unknown", site).reveal()) > 20


@pytest.mark.parametrize("environment", SECRETS)
def test_the_table_names_only_keys_that_are_expected(environment: str) -> None:
    expected = "".join(path.read_text() for path in SECRETS[environment].glob("*.env.expected"))

    assert set(ENV_VALUES) <= {line.partition("=")[0] for line in expected.splitlines()}


@pytest.mark.parametrize("key", ["SENTRY_DSN", "SENTRY_DSN_JS"])
def test_an_error_address_is_a_dsn(env: dict[str, str], key: str) -> None:
    dsn = urlsplit(env[key])

    assert (dsn.scheme, dsn.hostname) == ("https", "sentry.invalid")
    assert re.fullmatch(r"[0-9a-f]{32}", dsn.username or "")
    assert dsn.path.removeprefix("/").isdigit()


def test_the_broker_password_may_stand_in_an_address(env: dict[str, str]) -> None:
    address = urlsplit(f"amqp://admin:{env['rabbitmq-password']}@host:5672//")

    assert not UNFIT.search(env["rabbitmq-password"].encode())
    assert (address.password, address.hostname) == (env["rabbitmq-password"], "host")


def test_the_site_finds_its_database_and_bucket(state: State, env: dict[str, str]) -> None:
    login = sql.login(state.google, "mit-lookit", "staging")

    assert env["DB_HOST"] == "staging-gcloud-sqlproxy"
    assert [env[f"DB_{name}"] for name in ("NAME", "USER", "PASSWORD")] == [
        login.database,
        login.user,
        login.password,
    ]
    assert (env["GS_BUCKET_NAME"], env["GS_PROJECT_ID"]) == ("lookit-staging", "mit-lookit")


def test_buckets_and_regions_are_what_boto3_accepts(env: dict[str, str]) -> None:
    buckets = [value for key, value in env.items() if "BUCKET" in key]
    regions = [value for key, value in env.items() if key.endswith("REGION")]

    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket) for bucket in buckets)
    assert regions == ["us-east-1", "us-east-1"]


def test_the_secret_key_is_long_enough_for_django(env: dict[str, str]) -> None:
    assert len(env["SECRET_KEY"]) >= 50
    assert len(set(env["SECRET_KEY"])) >= 5


@pytest.mark.parametrize("name", placeholders.KEY_FILES)
def test_a_key_file_is_one_that_google_auth_takes(state: State, site: Site, name: str) -> None:
    expected = SECRETS["staging"] / f"{name}.expected"

    info = json.loads(placeholders.content(expected, site).reveal())

    assert set(info) == set(json.loads(expected.read_text()))
    assert not [key for key, value in info.items() if value.startswith("placeholder-")]
    assert info["token_uri"] == "https://oauth2.googleapis.com/token"
    signed = Credentials.from_service_account_info(info).signer.sign(b"anything")
    assert len(signed) == 256
    assert (state.google / "accounts" / f"{info['client_email']}.json").exists()
