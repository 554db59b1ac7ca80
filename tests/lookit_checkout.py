"""A checkout in the layout of today's lookit-api: the sandbox's application with a Dockerfile, pyproject.toml and uv.lock."""

import shutil
from pathlib import Path

from sandbox.images import layers, making
from sandbox.images.layers import Layer
from sandbox.images.lookit_api import LIKE_PIP, UV
from tests.sample_checkout import Sample, committed

APPLICATION = Path(__file__).resolve().parents[1] / "sandbox" / "application"
DOCKERFILE = """\
FROM python:3.13-slim-bookworm
WORKDIR /code
COPY ./ ./
RUN apt-get update \\
    && apt-get install -y --no-install-recommends \\
        gosu=1.14-1+b10 \\
        gettext=0.21-12 \\
        gcc=4:12.2.0-3 \\
        libc6-dev=2.36-9+deb12u13 \\
    && rm -rf /var/lib/apt/lists/*
RUN uv sync --frozen --no-dev
RUN python manage.py compilemessages
"""
MESSAGES = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\nmsgid "Hello"\nmsgstr "Hola"\n'
HEADING = "A checkout of lookit-api"


def make(folder: Path) -> Sample:
    """Write it to `folder`; its first page has HEADING."""
    shutil.copytree(APPLICATION, folder, ignore=shutil.ignore_patterns("__pycache__", "requirements.in"))
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "pyproject.toml").write_text(_project())
    shutil.copy(_lock(folder / "pyproject.toml"), folder)
    messages = folder / "locale/es/LC_MESSAGES/django.po"
    messages.parent.mkdir(parents=True)
    messages.write_text(MESSAGES)
    views = folder / "studies/views.py"
    views.write_text(views.read_text().replace("<h1>{site.name}</h1>", f"<h1>{HEADING}</h1>"))
    return committed(folder)


def _project() -> str:
    lines = (APPLICATION / "requirements.in").read_text().splitlines()
    wanted = "".join(f'    "{line}",\n' for line in lines if not line.startswith("#"))
    head = '[project]\nname = "lookit-api"\nversion = "0.1.0"\nrequires-python = "==3.13.*"\n'
    return f"{head}dependencies = [\n{wanted}]\n"


def _lock(project: Path) -> Path:
    """The lock, written by uv where Python 3.13 is: in a layer, which is kept."""
    script = f"cd /code\n{LIKE_PIP}uv lock -q --no-cache\n"
    layer = Layer("test-lock", script, UV, files={"/code/pyproject.toml": project})
    folder = making.folder() / "layers"
    layers.obtain(layer, folder)
    return layer.tree(folder) / "code/uv.lock"
