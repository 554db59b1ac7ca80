"""The images of a real node: what the manifests name, and what stands beside Lookit there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sandbox.containers.place import TRUSTED
from sandbox.images.layers import Layer

FILES = Path(__file__).with_name("files")
APPLICATION = Path(__file__).parents[1] / "application"
REQUIREMENTS = Path(__file__).parents[2] / "requirements" / "application.txt"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME = "/opt/bitnami/rabbitmq"


@dataclass(frozen=True)
class Recipe:
    """An image: its names, its top layer, and what containers start with."""

    names: tuple[str, ...]
    layer: Layer
    config: Mapping[str, Any]


def apt(*packages: str) -> str:
    """The lines that install packages of the distribution.

    Files are not synced to the disk one by one: a layer that is cut off is made again.
    """
    options = "-qq -y --no-install-recommends -o Dpkg::Options::=--force-unsafe-io"
    return f"apt-get update -qq\napt-get install {options} {' '.join(packages)}\n"


TRIXIE = Layer("base-trixie", suite="trixie", packages=("ca-certificates", "netbase"))
# Its RabbitMQ is 3.8.9, the nearest to the manifests' 3.8.2: later ones have other commands and files.
BULLSEYE = Layer("base-bullseye", suite="bullseye", packages=("ca-certificates", "netbase"))

# Where Bitnami's image has everything, which is what the manifests' script and probes name.
MOVE_RABBITMQ = f"""
mkdir -p {HOME}
cp -a /usr/lib/rabbitmq/lib/rabbitmq_server-*/. {HOME}/
rm -rf /usr/sbin/rabbitmq* /usr/lib/rabbitmq
sed -i 's/^SYS_PREFIX=$/SYS_PREFIX=${{RABBITMQ_HOME}}/' {HOME}/sbin/rabbitmq-defaults
mkdir -p {HOME}/etc/rabbitmq {HOME}/var/lib/rabbitmq {HOME}/var/log/rabbitmq {HOME}/.rabbitmq {HOME}/conf
chgrp -R 0 {HOME}
chmod -R g+rwX {HOME}
chown -R 1001 {HOME}
"""
# Every locale there is comes with it, half of its size.
NO_LOCALES = "find /usr/lib/locale -mindepth 1 -maxdepth 1 ! -iname C.utf* -exec rm -r {} +\n"
RABBITMQ = Layer("rabbitmq", apt("rabbitmq-server", "curl") + MOVE_RABBITMQ + NO_LOCALES, BULLSEYE)
# PostgreSQL's compiler of queries is as large as all else of it.
NO_COMPILER = (
    "rm -r /usr/lib/*/libLLVM* /usr/lib/postgresql/*/lib/llvmjit.so /usr/lib/postgresql/*/lib/bitcode\n"
)
POSTGRES = Layer(
    "postgres",
    apt("postgresql", "netcat-openbsd")
    + "ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/\nrm -rf /var/lib/postgresql/*\n"
    + NO_COMPILER,
    TRIXIE,
    files={"/usr/local/bin/start-postgres": FILES / "start-postgres"},
)
DOCKER = Layer(
    "docker",
    apt("docker.io", "docker-cli", "iptables", "openssl", "pigz", "xz-utils", "e2fsprogs"),
    TRIXIE,
    files={"/usr/local/bin/dockerd-entrypoint.sh": FILES / "dockerd-entrypoint.sh"},
)

PYTHON = Layer(
    "python",
    apt("python3", "python3-venv", "libpython3.13", "gosu", "procps", "gettext-base", "busybox-static")
    + "ln -s /usr/bin/python3 /usr/local/bin/python\n",
    TRIXIE,
)
# uWSGI is compiled; the compiler is gone again when the layer ends.
PACKAGES = Layer(
    "application-packages",
    apt("gcc", "libc6-dev", "python3-dev")
    + "python3 -m venv /code/.venv\n"
    + "/code/.venv/bin/pip install -q --no-cache-dir --require-hashes --no-deps "
    + "-r /usr/local/share/application.txt\n"
    + "apt-get purge -qq -y --auto-remove gcc libc6-dev python3-dev\n",
    PYTHON,
    files={"/usr/local/share/application.txt": REQUIREMENTS},
)
# Python's requests trusts what is in certifi's file, whatever the node's variables say.
TRUST = f"ln -sf {TRUSTED} /code/.venv/lib/python3*/site-packages/certifi/cacert.pem\n"
CODE = Layer(
    "application",
    TRUST + "cp /usr/bin/busybox /code/ember_build/\n"
    "mkdir -p /code/ember_build/checkouts /code/ember_build/deployments\n"
    "/code/.venv/bin/python -m compileall -q /code/project /code/studies\n",
    PACKAGES,
    files={"/code": APPLICATION},
)

ALL: dict[str, Recipe] = {
    "rabbitmq": Recipe(
        ("docker.io/bitnamilegacy/rabbitmq:3.8.2-debian-10-r30",),
        RABBITMQ,
        {
            "User": "1001",
            "Env": [
                f"PATH={HOME}/bin:{HOME}/sbin:{PATH}",
                f"HOME={HOME}/.rabbitmq",
                f"RABBITMQ_HOME={HOME}",
                "LANG=C.UTF-8",
            ],
        },
    ),
    # The manifests' waits, and the database in place of Cloud SQL.
    "postgres": Recipe(
        ("docker.io/library/postgres:16.4-alpine3.20", "sandbox.local/postgres:1"),
        POSTGRES,
        {"Env": [f"PATH={PATH}"], "Entrypoint": ["start-postgres"]},
    ),
    "docker": Recipe(
        ("docker.io/library/docker:27.5.1-dind",),
        DOCKER,
        {
            "Env": [f"PATH={PATH}", "DOCKER_TLS_CERTDIR=/certs"],
            "Entrypoint": ["dockerd-entrypoint.sh"],
            "Volumes": {"/var/lib/docker": {}},
        },
    ),
}


def application(repository: str, commit: str) -> Recipe:
    """The sandbox's own application, as the image of a commit of lookit-api."""
    return Recipe((f"{repository}:{commit}",), CODE, application_config(commit))


def application_config(commit: str) -> Mapping[str, Any]:
    """What containers of the application start with, as lookit-api's Dockerfile says it."""
    variables = [
        f"PATH=/root/.local/bin:/code/.venv/bin:{PATH}",
        f"GIT_COMMIT={commit}",
        f"VERSION={commit}",
        "LANG=C.UTF-8",
    ]
    return {"WorkingDir": "/code", "Env": variables, "Cmd": ["python"]}


def trusting(recipe: Recipe, authority: Path, bundles: tuple[str, ...]) -> Recipe:
    """The same image with a certificate authority among those that its programs trust."""
    script = "".join(f"cat /usr/local/share/authority.crt >> {bundle}\n" for bundle in bundles)
    layer = Layer(
        f"{recipe.layer.name}-trusting",
        script,
        recipe.layer,
        files={"/usr/local/share/authority.crt": authority},
    )
    return replace(recipe, layer=layer)
