"""A study, as far as its build is concerned."""

import uuid

from django.db import models


class Study(models.Model):
    """What a researcher has built and families visit."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True)
    built = models.BooleanField(default=False)
    log = models.TextField(default="")
