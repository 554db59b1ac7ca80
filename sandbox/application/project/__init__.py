"""Settings, and what Celery and uWSGI are pointed at."""

from project.celery import app as celery_app

__all__ = ["celery_app"]
