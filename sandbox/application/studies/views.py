"""The pages of the site."""

import os
import time
from collections.abc import Callable
from importlib.metadata import version as version_of
from pathlib import Path

from django.contrib.sites.models import Site
from django.core.files.storage import storages
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.templatetags.static import static
from project.celery import app

from studies.models import Study
from studies.tasks import ember_build_and_gcp_deploy

PACKAGES = ("django", "celery", "uwsgi", "gevent", "django-storages")


def home(request: HttpRequest) -> HttpResponse:
    """The site's name and a static file."""
    site = Site.objects.get_current()
    return HttpResponse(f'<link rel="stylesheet" href="{static("studies/site.css")}"><h1>{site.name}</h1>')


def version(request: HttpRequest) -> JsonResponse:
    """Which commit this is, on which versions, and whether what it depends on can be reached."""
    dependencies = {
        "database": _answer(connection.ensure_connection),
        "broker": _answer(lambda: app.connection_for_write().ensure_connection(max_retries=1, timeout=5)),
        "bucket": _answer(lambda: storages["staticfiles"].exists("studies/site.css")),
    }
    found = {"commit": os.environ.get("GIT_COMMIT", ""), "version": os.environ.get("VERSION", "")}
    status = 200 if set(dependencies.values()) == {"ok"} else 503
    packages = {name: version_of(name) for name in PACKAGES}
    return JsonResponse({**found, "dependencies": dependencies, "packages": packages}, status=status)


def slow(request: HttpRequest) -> HttpResponse:
    """Answer after so many seconds, once a file is there, for what happens to requests under way."""
    time.sleep(float(request.GET.get("seconds", "1")))
    while not Path(request.GET.get("file", "/")).exists():
        time.sleep(0.05)
    return HttpResponse("done")


def builds(request: HttpRequest) -> JsonResponse:
    """Every study; a POST makes one and has it built."""
    if request.method == "POST":
        study = Study.objects.create()
        ember_build_and_gcp_deploy.delay(str(study.uuid))
    return JsonResponse({str(study.uuid): study.built for study in Study.objects.all()})


def _answer(ask: Callable[[], object]) -> str:
    try:
        ask()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "ok"
