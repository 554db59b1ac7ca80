"""Every variable that the manifests give, read as lookit-api reads it."""

import os
from pathlib import Path

import sentry_sdk

BASE_DIR = Path(__file__).resolve().parent
EMBER_BUILD_ROOT_PATH = str(BASE_DIR.parent / "ember_build")

ENVIRONMENT = os.environ.get("ENVIRONMENT", "develop")
SECRET_KEY = os.environ.get("SECRET_KEY", "only for a machine without secrets")
DEBUG = bool(os.environ.get("DEBUG"))
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "").split()

# A DSN that cannot be parsed stops the application, as it stops lookit-api.
sentry_sdk.init(
    dsn=os.environ.get("SENTRY_DSN"), environment=ENVIRONMENT, release=os.environ.get("GIT_COMMIT", "")
)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sites",
    "django.contrib.staticfiles",
    "django_celery_beat",
    "corsheaders",
    "studies",
]
MIDDLEWARE = ["corsheaders.middleware.CorsMiddleware", "django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
TIME_ZONE = "America/New_York"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": 0,
        "NAME": os.environ.get("DB_NAME", "lookit"),
        "USER": os.environ.get("DB_USER", "postgres"),
        "PASSWORD": os.environ.get("DB_PASSWORD", ""),
        "HOST": os.environ.get("DB_HOST", "127.0.0.1"),
        "PORT": os.environ.get("DB_PORT", "5432"),
    }
}

SITE_ID = 1
SITE_DOMAIN = os.environ.get("SITE_DOMAIN", "localhost:8000")
SITE_NAME = os.environ.get("SITE_NAME", "Lookit")
BASE_URL = os.environ.get("BASE_URL", "https://localhost:8000")
EXPERIMENT_BASE_URL = os.environ.get("EXPERIMENT_BASE_URL", "")
CORS_ORIGIN_ALLOW_ALL = bool(os.environ.get("CORS_ORIGIN_ALLOW_ALL", "1"))
CORS_ORIGIN_WHITELIST = os.environ.get("CORS_ORIGIN_WHITELIST", "").split()
EMAIL_FROM_ADDRESS = os.environ.get("EMAIL_FROM_ADDRESS", "nobody@localhost")

GS_BUCKET_NAME = os.environ.get("GS_BUCKET_NAME", "")
GS_PROJECT_ID = os.environ.get("GS_PROJECT_ID", "")
GS_QUERYSTRING_AUTH = False
STATIC_URL = "/static/"
STATIC_ROOT = str(BASE_DIR / "static")
if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
    CLOUD = "storages.backends.gcloud.GoogleCloudStorage"
    STORAGES = {
        "default": {"BACKEND": CLOUD, "OPTIONS": {"location": "media", "file_overwrite": False}},
        "staticfiles": {"BACKEND": CLOUD, "OPTIONS": {"location": "static"}},
        "experiments": {"BACKEND": CLOUD, "OPTIONS": {"location": "experiments"}},
    }

RABBITMQ_USERNAME = os.environ.get("RABBITMQ_USERNAME", "guest")
RABBITMQ_PASSWORD = os.environ.get("RABBITMQ_PASSWORD", "guest")
RABBITMQ_HOST = os.environ.get("RABBITMQ_HOST", "localhost")
RABBITMQ_PORT = os.environ.get("RABBITMQ_PORT", "5672")
RABBITMQ_VHOST = os.environ.get("RABBITMQ_VHOST", "/")
# Unescaped, as lookit-api does it: guard.keys_in_addresses in invoke.yaml is about this line.
CELERY_BROKER_URL = os.environ.get(
    "BROKER_URL",
    f"amqp://{RABBITMQ_USERNAME}:{RABBITMQ_PASSWORD}@{RABBITMQ_HOST}:{RABBITMQ_PORT}/{RABBITMQ_VHOST}",
)
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_ROUTES = {
    "studies.tasks.ember_build_and_gcp_deploy": {"queue": "builds"},
    "studies.tasks.cleanup_builds": {"queue": "cleanup"},
    "studies.tasks.send_mail": {"queue": "email"},
}
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BROKER_POOL_LIMIT = 0

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
