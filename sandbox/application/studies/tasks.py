"""What the workers do: queue email by worker, queues builds and cleanup by builder."""

import logging
import shutil
import time
from pathlib import Path

import docker
from celery import shared_task
from django.conf import settings
from django.core.files import File
from django.core.files.storage import storages

from studies.models import Study

logger = logging.getLogger(__name__)
ROOT = Path(settings.EMBER_BUILD_ROOT_PATH)
IMAGE = "ember_build"


@shared_task
def send_mail(subject: str, address: str, seconds: float = 0) -> str:
    """Log an e-mail in place of sending it, after so many seconds."""
    time.sleep(seconds)
    logger.warning("An e-mail to %s: %s", address, subject)
    return subject


@shared_task
def ember_build_and_gcp_deploy(study_uuid: str) -> int:
    """Build a study's app in Docker and upload it; returns how many files were sent."""
    study = Study.objects.get(uuid=study_uuid)
    study.log = _built(study_uuid)
    sent = _uploaded(study_uuid)
    study.built = True
    study.save()
    return sent


@shared_task
def cleanup_builds() -> None:
    """Remove what builds have left on the disk."""
    for folder in (ROOT / "deployments").iterdir():
        shutil.rmtree(folder)


def _built(study_uuid: str) -> str:
    """Build the image, and run it on the two folders that Docker and this container share."""
    engine = docker.from_env()
    engine.images.build(path=str(ROOT), tag=IMAGE)
    shared = {
        str(ROOT / "checkouts"): {"bind": "/checkouts", "mode": "ro"},
        str(ROOT / "deployments"): {"bind": "/deployments", "mode": "rw"},
    }
    variables = {"STUDY_OUTPUT_DIR": f"/deployments/{study_uuid}", "STUDY": study_uuid}
    said = engine.containers.run(
        IMAGE, environment=variables, volumes=shared, remove=True, network_mode="none"
    )
    return said.decode()


def _uploaded(study_uuid: str) -> int:
    folder = ROOT / "deployments" / study_uuid
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        with path.open("rb") as content:
            storages["experiments"].save(f"{study_uuid}/{path.relative_to(folder)}", File(content))
    return len(files)
